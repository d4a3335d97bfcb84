/* Ephemeral volumes: a pod's volume with a claim template gets a claim of its own, which goes with the pod.
 * https://kubernetes.io/docs/concepts/storage/ephemeral-volumes/#generic-ephemeral-volumes */
#include "controllers/owners.h"
#include "json/build.h"
#include "schema/types.h"

static int make_claim(struct controller *c, struct arena *a, const struct object *pod, const struct json *volume,
                      struct error *err) {
        const struct json *template = EphemeralVolumeSource_volumeClaimTemplate(Volume_ephemeral(volume)),
                          *meta = json_getc(template, "metadata");
        struct str ns = object_namespace(pod),
                   name = arena_printf(a, "%" STR_FMT "-%" STR_FMT, STR_ARG(object_name(pod)),
                                       STR_ARG(Volume_name(volume)));
        struct object *there = controller_get(c, &res_persistentvolumeclaims, ns, name);
        struct json ref = controller_ref(a, &res_pods, pod), body;

        if (there && !is_controlled_by(there, object_uid(pod)))
                return error_set(err, -EEXIST,
                                 "PVC %" STR_FMT "/%" STR_FMT " was not created for pod %" STR_FMT "/%" STR_FMT
                                 " (pod is not owner)",
                                 STR_ARG(ns), STR_ARG(name), STR_ARG(ns), STR_ARG(object_name(pod)));
        if (there)
                return 0;
        body = json_build(a,
                          "{ metadata: { name: %s, namespace: %s, labels: %j, annotations: %j, ownerReferences: [ %j ] "
                          "}, spec: %j }",
                          name, ns, json_getc(meta, "labels"), json_getc(meta, "annotations"), &ref,
                          json_getc(template, "spec"));
        return controller_create(c, &res_persistentvolumeclaims, ns, &body, NULL, err);
}

static int reconcile(struct controller *c, struct str key, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct object *pod = informer_get(controller_informer(c, &res_pods), key);
        int r = 0;

        if (!pod || object_deleting(pod))
                return 0;
        json_each_item(v, PodSpec_volumes(Pod_spec(object_json(pod))))
                if (Volume_ephemeral(v) && r == 0)
                        r = make_claim(c, a, pod, v, err);
        return r;
}

static void enqueue_pod(struct controller *c, struct object *old, struct object *new) {
        json_each_item(v, PodSpec_volumes(new && !old ? Pod_spec(object_json(new)) : NULL))
                if (Volume_ephemeral(v))
                        enqueue_self(c, old, new);
}

static void enqueue_owner_of_lost(struct controller *c, struct object *old, struct object *new) {
        if (!new)
                enqueue_owner(c, old, new);
}

const struct controller_class ephemeralvolume_controller = {
        .name = "ephemeral-volume-controller",
        .watches = { { &res_pods, enqueue_pod }, { &res_persistentvolumeclaims, enqueue_owner_of_lost } },
        .reconcile = reconcile,
};
