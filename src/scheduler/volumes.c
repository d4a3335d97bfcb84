/* Volumes and where they may be: a claim that is not there, or that nobody has bound yet, keeps its pod waiting; a
 * volume that only some nodes may have leaves only those. A claim of a class that waits for its first consumer is bound
 * once its pod has a node (controllers/persistentvolume.c): one that may have a free volume of the class.
 * https://kubernetes.io/docs/concepts/storage/storage-classes/#volume-binding-mode */
#include "scheduler/framework.h"
#include "schema/quantity.h"
#include "schema/types.h"

#define CONFLICT "node(s) had volume node affinity conflict"
#define GONE "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"
#define NONE_FREE "node(s) didn't find available persistent volumes to bind"

static struct volume_need *new_need(struct pod_info *p, const char *reason) {
        vec_push(&p->volume_needs, (struct volume_need) { .reason = reason });
        return &p->volume_needs.v[p->volume_needs.n - 1];
}

/* Nodes that may have this volume: those that match one of its terms. */
static void add_terms(struct pod_info *p, struct volume_need *need, const struct object *volume) {
        const struct json *required = json_at_path(object_json(volume), "spec", "nodeAffinity", "required"),
                          *terms = NodeSelector_nodeSelectorTerms(required);

        if (!required)
                need->anywhere = true;
        json_each_item(t, terms)
                vec_push(&need->terms, pod_info_term(p->volumes_arena, t));
}

static bool is_free(const struct object *volume, const struct object *claim, struct str class) {
        const struct json *spec = PersistentVolume_spec(object_json(volume)),
                          *ref = PersistentVolumeSpec_claimRef(spec);
        struct quantity wanted =
                        quantity_of_json(json_at_path(object_json(claim), "spec", "resources", "requests", "storage"));

        if (quantity_cmp(quantity_of_json(json_at_path(spec, "capacity", "storage")), wanted) < 0)
                return false;
        if (ref)
                return str_eq(ObjectReference_name(ref), object_name(claim)) &&
                       str_eq(ObjectReference_namespace(ref), object_namespace(claim));
        return str_eq(PersistentVolumeSpec_storageClassName(spec), class);
}

static void need_free_one(const struct volumes *v, struct pod_info *p, const struct object *claim, struct str class) {
        struct volume_need *need = new_need(p, NONE_FREE);

        map_each(it, informer_objects(v->volumes))
                if (is_free(it.value, claim, class))
                        add_terms(p, need, it.value);
}

static void need_bound(const struct volumes *v, struct pod_info *p, struct str name) {
        struct object *volume = informer_get(v->volumes, name);
        struct volume_need *need = new_need(p, volume ? CONFLICT : GONE);

        if (volume)
                add_terms(p, need, volume);
}

/* 0: bound, or will be; 1: nobody has bound it; -1: why. */
static int check_claim(const struct volumes *v, struct pod_info *p, struct str name, bool ephemeral, struct buf *why) {
        struct object *claim = informer_get_named(v->claims, object_namespace(p->pod), name), *class;
        const struct json *spec = claim ? PersistentVolumeClaim_spec(object_json(claim)) : NULL;
        struct str class_name = PersistentVolumeClaimSpec_storageClassName(spec),
                   phase = claim ? PersistentVolumeClaimStatus_phase(PersistentVolumeClaim_status(object_json(claim)))
                                 : STR("");

        if (!claim || str_eqc(phase, "Lost") || object_deleting(claim))
                buf_printf(why, "%spersistentvolumeclaim \"%" STR_FMT "\"",
                           !claim && ephemeral ? "waiting for ephemeral volume controller to create the " : "",
                           STR_ARG(name));
        if (!claim && !ephemeral)
                buf_printf(why, " not found");
        else if (str_eqc(phase, "Lost"))
                buf_printf(why, " bound to non-existent persistentvolume \"%" STR_FMT "\"",
                           STR_ARG(PersistentVolumeClaimSpec_volumeName(spec)));
        else if (claim && object_deleting(claim))
                buf_printf(why, " is being deleted");
        if (why->n > 0)
                return -1;
        if (str_eqc(phase, "Bound")) {
                need_bound(v, p, PersistentVolumeClaimSpec_volumeName(spec));
                return 0;
        }
        class = informer_get(v->classes, class_name);
        if (!class || !str_eqc(StorageClass_volumeBindingMode(object_json(class)), "WaitForFirstConsumer"))
                return 1;
        if (str_eqc(StorageClass_provisioner(object_json(class)), "kubernetes.io/no-provisioner"))
                need_free_one(v, p, claim, class_name);
        return 0;
}

bool volumes_check(const struct volumes *v, struct pod_info *p, struct buf *why) {
        bool unbound = false;

        pod_info_forget_volumes(p);
        json_each_item(volume, PodSpec_volumes(Pod_spec(object_json(p->pod)))) {
                const struct json *source = Volume_persistentVolumeClaim(volume);
                struct str name = PersistentVolumeClaimVolumeSource_claimName(source);

                if (!source && !Volume_ephemeral(volume))
                        continue;
                if (!p->volumes_arena)
                        p->volumes_arena = arena_new(512);
                if (!source)
                        name = arena_printf(p->volumes_arena, "%" STR_FMT "-%" STR_FMT, STR_ARG(object_name(p->pod)),
                                            STR_ARG(Volume_name(volume)));
                int r = check_claim(v, p, name, !source, why);
                if (r < 0)
                        return false;
                unbound |= r > 0;
        }
        if (unbound)
                buf_printf(why, "pod has unbound immediate PersistentVolumeClaims");
        return !unbound;
}
