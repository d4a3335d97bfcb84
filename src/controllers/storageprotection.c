/* Storage objects in use: a claim that a scheduled pod names, and a volume that is bound, stay until that is over, by a
 * finalizer that admission puts on them.
 * https://kubernetes.io/docs/concepts/storage/persistent-volumes/#storage-object-in-use-protection */
#include "controllers/controller.h"
#include "controllers/pods.h"
#include "schema/types.h"

#define CLAIM_FINALIZER "kubernetes.io/pvc-protection"
#define VOLUME_FINALIZER "kubernetes.io/pv-protection"

/* ---- claims ---- */

/* "web-0-cache" of the pod's ephemeral volume "cache". */
static bool is_ephemeral_of(const struct object *pod, const struct json *volume, struct str claim) {
        struct str name = object_name(pod), volume_name = Volume_name(volume);

        return Volume_ephemeral(volume) && claim.n == name.n + 1 + volume_name.n && str_has_prefix(claim, name) &&
               claim.p[name.n] == '-' && str_has_suffix(claim, volume_name) && !pod_is_terminal(pod);
}

static bool uses(const struct object *pod, struct str claim) {
        const struct json *spec = Pod_spec(object_json(pod));

        if (str_empty(PodSpec_nodeName(spec))) /* no kubelet starts it with a claim that is going away */
                return false;
        json_each_item(v, PodSpec_volumes(spec))
                if (str_eq(PersistentVolumeClaimVolumeSource_claimName(Volume_persistentVolumeClaim(v)), claim) ||
                    is_ephemeral_of(pod, v, claim))
                        return true;
        return false;
}

static int reconcile_claim(struct controller *c, struct str key, struct error *err) {
        struct object *claim = informer_get(controller_informer(c, &res_persistentvolumeclaims), key);
        struct api_list *pods;
        bool used = false;

        if (!claim || !object_deleting(claim))
                return claim ? finalizer_set(c, &res_persistentvolumeclaims, claim, CLAIM_FINALIZER, true, err) : 0;
        if (!finalizer_is_set(claim, CLAIM_FINALIZER))
                return 0;
        TRY(client_list(c->client, &res_pods, object_namespace(claim), NULL, &pods, err));
        for (size_t i = 0; i < pods->n; i++)
                used = used || uses(pods->items[i], object_name(claim));
        api_list_free(pods);
        return used ? 0 : finalizer_set(c, &res_persistentvolumeclaims, claim, CLAIM_FINALIZER, false, err);
}

/* A pod that is gone, or has ended, may have been the last. */
static void enqueue_claims(struct controller *c, struct object *old, struct object *new) {
        _cleanup_(arena_freep) struct arena *a = NULL;

        if (!old || (new && !pod_is_terminal(new)))
                return;
        json_each_item(v, PodSpec_volumes(Pod_spec(object_json(old)))) {
                const struct json *source = Volume_persistentVolumeClaim(v);

                if (!source && !Volume_ephemeral(v))
                        continue;
                if (!a)
                        a = arena_new(512);
                controller_enqueue_named(c, object_namespace(old),
                                         source ? PersistentVolumeClaimVolumeSource_claimName(source)
                                                : arena_printf(a, "%" STR_FMT "-%" STR_FMT, STR_ARG(object_name(old)),
                                                               STR_ARG(Volume_name(v))));
        }
}

/* ---- volumes ---- */

static int reconcile_volume(struct controller *c, struct str key, struct error *err) {
        struct object *volume = informer_get(controller_informer(c, &res_persistentvolumes), key);

        if (!volume)
                return 0;
        bool bound = str_eqc(PersistentVolumeStatus_phase(PersistentVolume_status(object_json(volume))), "Bound");
        if (object_deleting(volume) && bound)
                return 0;
        return finalizer_set(c, &res_persistentvolumes, volume, VOLUME_FINALIZER, !object_deleting(volume), err);
}

const struct controller_class pvcprotection_controller = {
        .name = "persistentvolumeclaim-protection-controller",
        .account = "pvc-protection-controller",
        .watches = { { &res_persistentvolumeclaims, enqueue_self }, { &res_pods, enqueue_claims } },
        .reconcile = reconcile_claim,
}, pvprotection_controller = {
        .name = "persistentvolume-protection-controller",
        .account = "pv-protection-controller",
        .watches = { { &res_persistentvolumes, enqueue_self } },
        .reconcile = reconcile_volume,
};
