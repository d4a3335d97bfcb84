/* PersistentVolumes and claims find each other, and part:
 *
 *   claim without a volume ─▶ the smallest that will do ─▶ volume's claimRef ─▶ claim's volumeName ─▶ claim Bound
 *   volume whose claim is gone ─▶ Released: kept (Retain), or whoever made it deletes it
 *
 * Each reconcile writes one of these; its echo brings the next. A claim whose class says WaitForFirstConsumer waits for
 * a pod of a node, and gets a volume which that node may have. Volumes are made by others: their provisioner is named
 * on the claim. Keys are "namespace/claim" and "volume".
 * https://kubernetes.io/docs/concepts/storage/persistent-volumes/#lifecycle-of-a-volume-and-claim */
#include "controllers/controller.h"
#include "controllers/pods.h"
#include "json/build.h"
#include "schema/nodefit.h"
#include "schema/quantity.h"
#include "schema/types.h"

#define BIND_COMPLETED "pv.kubernetes.io/bind-completed"
#define BOUND_BY_CONTROLLER "pv.kubernetes.io/bound-by-controller"
#define PROVISIONED_BY "pv.kubernetes.io/provisioned-by"
#define PROVISIONER "volume.kubernetes.io/storage-provisioner"
#define PROVISIONER_BETA "volume.beta.kubernetes.io/storage-provisioner"
#define SELECTED_NODE "volume.kubernetes.io/selected-node"

struct sync {
        struct controller *c;
        struct arena *a;
        struct object *claim;
        const struct json *spec; /* of the claim */
};

/* ---- what fits ---- */

static struct str class_of(const struct object *o, const struct json *spec) {
        struct str old_way = object_annotation(o, "volume.beta.kubernetes.io/storage-class");

        return old_way.p ? old_way : json_str(json_getc(spec, "storageClassName"));
}

/* The volume's reference names this claim, and not an earlier one of its name. */
static bool refers_to(const struct object *volume, const struct object *claim) {
        const struct json *ref = PersistentVolumeSpec_claimRef(PersistentVolume_spec(object_json(volume)));
        struct str uid = ObjectReference_uid(ref);

        return ref && str_eq(ObjectReference_name(ref), object_name(claim)) &&
               str_eq(ObjectReference_namespace(ref), object_namespace(claim)) &&
               (str_empty(uid) || str_eq(uid, object_uid(claim)));
}

static bool has_modes(const struct json *volume, const struct json *wanted) {
        json_each_item(m, wanted)
                if (!json_has_str(PersistentVolumeSpec_accessModes(volume), json_str(m)))
                        return false;
        return true;
}

static bool node_may_have(struct arena *a, const struct json *volume, const struct object *node) {
        const struct json *required = json_at_path(volume, "nodeAffinity", "required");

        if (!node || !required)
                return true;
        struct json pod = json_build(
                        a, "{ affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: %j } } }",
                        required);
        return node_matches(node, &pod);
}

static struct quantity capacity_of(const struct json *volume) {
        return quantity_of_json(json_at_path(volume, "capacity", "storage"));
}

static bool fits(const struct sync *s, const struct object *volume, const struct selector *selector,
                 const struct object *node) {
        const struct json *j = object_json(volume), *spec = PersistentVolume_spec(j);
        struct quantity wanted = quantity_of_json(json_at_path(s->spec, "resources", "requests", "storage"));

        return !object_deleting(volume) && quantity_cmp(capacity_of(spec), wanted) >= 0 &&
               str_eq(json_str_or(json_getc(spec, "volumeMode"), STR("Filesystem")),
                      json_str_or(json_getc(s->spec, "volumeMode"), STR("Filesystem"))) &&
               (refers_to(volume, s->claim) ||
                (!PersistentVolumeSpec_claimRef(spec) && str_eqc(object_phase(volume), "Available") &&
                 str_eq(class_of(volume, spec), class_of(s->claim, s->spec)) &&
                 has_modes(spec, json_getc(s->spec, "accessModes")) &&
                 (!json_getc(s->spec, "selector") || selector_matches_object(selector, volume)) &&
                 node_may_have(s->a, spec, node)));
}

/* One that refers to the claim already, else the smallest that fits. only_referring: no other. */
static struct object *find_volume(const struct sync *s, const struct object *node, bool only_referring) {
        struct object *best = NULL;
        struct selector selector;

        if (selector_from_object(s->a, json_getc(s->spec, "selector"), &selector, NULL) < 0)
                return NULL;
        controller_each(it, s->c, &res_persistentvolumes) {
                struct object *volume = it.value;

                if (!fits(s, volume, &selector, node))
                        continue;
                if (refers_to(volume, s->claim))
                        return volume;
                if (!only_referring &&
                    (!best || quantity_cmp(capacity_of(PersistentVolume_spec(object_json(volume))),
                                           capacity_of(PersistentVolume_spec(object_json(best)))) < 0))
                        best = volume;
        }
        return best;
}

/* ---- the first consumer ---- */

static bool uses(const struct object *pod, const struct object *claim) {
        json_each_item(v, PodSpec_volumes(Pod_spec(object_json(pod)))) {
                const struct json *source = Volume_persistentVolumeClaim(v);

                if (source && str_eq(PersistentVolumeClaimVolumeSource_claimName(source), object_name(claim)))
                        return true;
        }
        return is_controlled_by(claim, object_uid(pod)); /* of an ephemeral volume */
}

/* The node that was selected for the claim, or that of a pod which has been given one; NULL: none yet. */
static struct object *consumer_node(const struct sync *s) {
        struct str name = object_annotation(s->claim, SELECTED_NODE);

        if (str_empty(name))
                controller_each(it, s->c, &res_pods)
                        if (str_eq(object_namespace(it.value), object_namespace(s->claim)) &&
                            !str_empty(pod_node(it.value)) && !pod_is_terminal(it.value) && uses(it.value, s->claim))
                                name = pod_node(it.value);
        return str_empty(name) ? NULL : controller_get(s->c, &res_nodes, STR(""), name);
}

/* ---- binding ---- */

static bool annotate(struct arena *a, struct json *tree, const char *key, struct str value) {
        struct json *annotations =
                        json_get_or_add_object(a, json_get_or_add_object(a, tree, "metadata"), "annotations");

        if (str_eq(json_str(json_getc(annotations, key)), value))
                return false;
        json_set_str(a, annotations, key, value);
        return true;
}

static int set_claim_status(struct sync *s, const char *phase, const struct json *volume, struct error *err) {
        struct json status = json_is(json_getc(object_json(s->claim), "status"), JSON_OBJECT)
                                             ? json_copy_shallow(s->a, json_getc(object_json(s->claim), "status"))
                                             : json_new_object();

        json_set_cstr(s->a, &status, "phase", phase);
        if (!volume) {
                json_removec(&status, "accessModes");
                json_removec(&status, "capacity");
        } else if (!str_eqc(object_phase(s->claim), "Bound")) {
                json_setc(s->a, &status, "accessModes", *PersistentVolumeSpec_accessModes(volume));
                json_setc(s->a, &status, "capacity", *PersistentVolumeSpec_capacity(volume));
        }
        return controller_update_status(s->c, &res_persistentvolumeclaims, s->claim, &status, err);
}

/* The next step of three: the volume refers to the claim, the claim names the volume, the claim is Bound. */
static int bind_to(struct sync *s, const struct object *volume, struct error *err) {
        const struct json *spec = PersistentVolume_spec(object_json(volume)),
                          *ref = PersistentVolumeSpec_claimRef(spec);
        struct json tree;

        if (str_empty(ObjectReference_uid(ref))) {
                tree = json_copy_tree(s->a, object_json(volume));
                if (!ref)
                        annotate(s->a, &tree, BOUND_BY_CONTROLLER, STR("yes"));
                json_setc(s->a, json_get_or_add_object(s->a, &tree, "spec"), "claimRef",
                          json_build(s->a,
                                     "{ kind: 'PersistentVolumeClaim', namespace: %s, name: %s, uid: %s, apiVersion: "
                                     "'v1', resourceVersion: %s }",
                                     object_namespace(s->claim), object_name(s->claim), object_uid(s->claim),
                                     arena_printf(s->a, "%llu", (unsigned long long) object_revision(s->claim))));
                return controller_update(s->c, &res_persistentvolumes, STR(""), &tree, err);
        }
        if (!object_annotation(s->claim, BIND_COMPLETED).p || str_empty(json_str(json_getc(s->spec, "volumeName")))) {
                tree = json_copy_tree(s->a, object_json(s->claim));
                if (str_empty(json_str(json_getc(s->spec, "volumeName"))))
                        annotate(s->a, &tree, BOUND_BY_CONTROLLER, STR("yes"));
                annotate(s->a, &tree, BIND_COMPLETED, STR("yes"));
                json_set_str(s->a, json_get_or_add_object(s->a, &tree, "spec"), "volumeName", object_name(volume));
                return controller_update(s->c, &res_persistentvolumeclaims, STR(""), &tree, err);
        }
        return set_claim_status(s, "Bound", spec, err);
}

/* ---- claims ---- */

static void tell(struct sync *s, const char *type, const char *reason, const char *message) {
        event_record(s->c->events, &res_persistentvolumeclaims, s->claim, NULL, type, reason, "%s", message);
}

/* Names the one that is to make a volume. */
static int ask_provisioner(struct sync *s, const struct object *class, const struct object *node, struct error *err) {
        struct str provisioner = StorageClass_provisioner(object_json(class));
        struct json tree = json_copy_tree(s->a, object_json(s->claim));

        if (str_has_prefix(provisioner, STR("kubernetes.io/"))) { /* there are no built-in ones any more */
                tell(s, "Warning", "ProvisioningFailed",
                     arena_printf(s->a, "no volume plugin matched name: %" STR_FMT, STR_ARG(provisioner)).p);
                return 0;
        }
        bool changed = annotate(s->a, &tree, PROVISIONER_BETA, provisioner);
        changed = annotate(s->a, &tree, PROVISIONER, provisioner) || changed;
        if (node) /* of the first consumer: it is made for that one */
                changed = annotate(s->a, &tree, SELECTED_NODE, object_name(node)) || changed;
        if (changed)
                return controller_update(s->c, &res_persistentvolumeclaims, STR(""), &tree, err);
        tell(s, "Normal", "ExternalProvisioning",
             arena_printf(s->a,
                          "Waiting for a volume to be created either by the external provisioner '%" STR_FMT
                          "' or manually by the system administrator. If volume creation is delayed, please verify "
                          "that the provisioner is running and correctly registered.",
                          STR_ARG(provisioner))
                             .p);
        return 0;
}

static int find_and_bind(struct sync *s, struct error *err) {
        struct str name = class_of(s->claim, s->spec);
        const struct object *class = controller_get(s->c, &res_storageclasses, STR(""), name);
        bool late = class && str_eqc(StorageClass_volumeBindingMode(object_json(class)), "WaitForFirstConsumer");
        struct object *node = late ? consumer_node(s) : NULL, *volume = find_volume(s, node, late && !node);

        if (volume)
                return bind_to(s, volume, err);
        if (late && !node)
                tell(s, "Normal", "WaitForFirstConsumer", "waiting for first consumer to be created before binding");
        else if (str_empty(name))
                tell(s, "Normal", "FailedBinding",
                     "no persistent volumes available for this claim and no storage class is set");
        else if (class)
                return ask_provisioner(s, class, node, err);
        else
                tell(s, "Warning", "ProvisioningFailed",
                     arena_printf(s->a, "storageclass.storage.k8s.io \"%" STR_FMT "\" not found", STR_ARG(name)).p);
        return 0;
}

static int lose(struct sync *s, const char *reason, const char *message, struct error *err) {
        if (str_eqc(object_phase(s->claim), "Lost"))
                return 0;
        tell(s, "Warning", reason, message);
        return set_claim_status(s, "Lost", NULL, err);
}

static int reconcile_claim(struct sync *s, struct error *err) {
        bool bound = object_annotation(s->claim, BIND_COMPLETED).p;
        struct str name = json_str(json_getc(s->spec, "volumeName"));
        struct object *volume = controller_get(s->c, &res_persistentvolumes, STR(""), name);
        const struct json *ref =
                        volume ? PersistentVolumeSpec_claimRef(PersistentVolume_spec(object_json(volume))) : NULL;

        if (!bound && object_deleting(s->claim))
                return 0;
        if (!bound && str_empty(name))
                return find_and_bind(s, err);
        if (volume && (!ref || refers_to(volume, s->claim)))
                return bind_to(s, volume, err);
        if (!bound) /* it was asked for by name: perhaps it comes, or becomes free */
                return 0;
        if (volume)
                return lose(s, "ClaimMisbound",
                            "Two claims are bound to the same volume, this one is bound incorrectly", err);
        return lose(s, "ClaimLost",
                    str_empty(name) ? "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!"
                                    : "Bound claim has lost its PersistentVolume. Data on the volume is lost!",
                    err);
}

/* ---- volumes ---- */

static int set_phase(struct controller *c, struct arena *a, const struct object *volume, const char *phase,
                     const char *message, struct error *err) {
        const struct json *now = json_getc(object_json(volume), "status");
        struct json status = json_is(now, JSON_OBJECT) ? json_copy_shallow(a, now) : json_new_object();

        if (str_eqc(object_phase(volume), phase))
                return 0;
        json_set_cstr(a, &status, "phase", phase);
        json_removec(&status, "message");
        if (message)
                json_set_cstr(a, &status, "message", message);
        return controller_update_status(c, &res_persistentvolumes, volume, &status, err);
}

/* Nothing here deletes what is on a volume; a provisioner does so for its own. */
static int reclaim(struct controller *c, struct arena *a, const struct object *volume, struct error *err) {
        const struct json *spec = PersistentVolume_spec(object_json(volume));
        struct str policy = PersistentVolumeSpec_persistentVolumeReclaimPolicy(spec);

        if (!str_eqc(object_phase(volume), "Released") && !str_eqc(object_phase(volume), "Failed"))
                return set_phase(c, a, volume, "Released", NULL, err);
        if (str_eqc(policy, "Retain") || json_getc(spec, "csi") || object_annotation(volume, PROVISIONED_BY).p ||
            str_eqc(object_phase(volume), "Failed"))
                return 0;
        const char *message =
                        str_eqc(policy, "Recycle")
                                        ? "no recyclable volume plugin matched"
                                        : arena_printf(a,
                                                       "error getting deleter volume plugin for volume \"%" STR_FMT
                                                       "\": no deletable volume plugin matched",
                                                       STR_ARG(object_name(volume)))
                                                          .p;
        event_record(c->events, &res_persistentvolumes, volume, NULL, "Warning",
                     str_eqc(policy, "Recycle") ? "VolumeFailedRecycle" : "VolumeFailedDelete", "%s", message);
        return set_phase(c, a, volume, "Failed", message, err);
}

/* Its claim is bound to another volume. */
static int let_go(struct controller *c, struct arena *a, const struct object *volume, struct error *err) {
        struct json tree = json_copy_tree(a, object_json(volume)), *spec = json_get_or_add_object(a, &tree, "spec");

        if (object_annotation(volume, BOUND_BY_CONTROLLER).p) {
                json_removec(spec, "claimRef");
                json_removec(json_get_or_add_object(a, json_get_or_add_object(a, &tree, "metadata"), "annotations"),
                             BOUND_BY_CONTROLLER);
        } else { /* somebody has reserved it for the claim: it stays so */
                json_removec(json_get_or_add_object(a, spec, "claimRef"), "uid");
                json_removec(json_get_or_add_object(a, spec, "claimRef"), "resourceVersion");
        }
        return controller_update(c, &res_persistentvolumes, STR(""), &tree, err);
}

static int reconcile_volume(struct controller *c, struct arena *a, const struct object *volume, struct error *err) {
        const struct json *ref = PersistentVolumeSpec_claimRef(PersistentVolume_spec(object_json(volume)));

        if (str_empty(ObjectReference_uid(ref)))
                return set_phase(c, a, volume, "Available", NULL, err);
        struct object *claim = controller_get(c, &res_persistentvolumeclaims, ObjectReference_namespace(ref),
                                              ObjectReference_name(ref));
        if (!claim || !str_eq(object_uid(claim), ObjectReference_uid(ref)))
                return reclaim(c, a, volume, err);
        struct str name = PersistentVolumeClaimSpec_volumeName(PersistentVolumeClaim_spec(object_json(claim)));
        if (str_empty(name) || str_eq(name, object_name(volume)))
                return set_phase(c, a, volume, "Bound", NULL, err);
        return let_go(c, a, volume, err);
}

static int reconcile(struct controller *c, struct str key, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct sync s = { .c = c, .a = a };

        if (str_find(key, '/') < 0) {
                struct object *volume = informer_get(controller_informer(c, &res_persistentvolumes), key);
                return volume ? reconcile_volume(c, a, volume, err) : 0;
        }
        s.claim = informer_get(controller_informer(c, &res_persistentvolumeclaims), key);
        if (!s.claim)
                return 0;
        s.spec = PersistentVolumeClaim_spec(object_json(s.claim));
        return reconcile_claim(&s, err);
}

/* ---- news ---- */

static void enqueue_pending(struct controller *c, struct object *old, struct object *new) {
        controller_each(it, c, &res_persistentvolumeclaims)
                if (!str_eqc(object_phase(it.value), "Bound"))
                        enqueue_self(c, NULL, it.value);
}

static void enqueue_claim(struct controller *c, struct object *old, struct object *new) {
        struct object *claim = new ? new : old;

        enqueue_self(c, old, new);
        controller_each(it, c, &res_persistentvolumes)
                if (refers_to(it.value, claim))
                        controller_enqueue_key(c, object_name(it.value));
}

/* Its claim, and whoever waits for a volume like this. */
static void enqueue_volume(struct controller *c, struct object *old, struct object *new) {
        struct object *volume = new ? new : old;
        const struct json *ref = PersistentVolumeSpec_claimRef(PersistentVolume_spec(object_json(volume)));

        enqueue_self(c, old, new);
        if (ref)
                controller_enqueue_named(c, ObjectReference_namespace(ref), ObjectReference_name(ref));
        else
                enqueue_pending(c, old, new);
}

/* A pod that has got a node may be the first consumer. */
static void enqueue_consumed(struct controller *c, struct object *old, struct object *new) {
        const struct map *claims = informer_objects(controller_informer(c, &res_persistentvolumeclaims));

        if (!new || str_empty(pod_node(new)) || (old && !str_empty(pod_node(old))))
                return;
        map_each(it, claims)
                if (str_eqc(object_phase(it.value), "Pending") &&
                    str_eq(object_namespace(it.value), object_namespace(new)) && uses(new, it.value))
                        enqueue_self(c, NULL, it.value);
}

const struct controller_class persistentvolume_controller = {
        .name = "persistentvolume-controller",
        .account = "persistent-volume-binder",
        .watches = { { &res_persistentvolumeclaims, enqueue_claim },
                     { &res_persistentvolumes, enqueue_volume },
                     { &res_storageclasses, enqueue_pending },
                     { &res_pods, enqueue_consumed },
                     { &res_nodes, NULL } },
        .reconcile = reconcile,
};
