/* A revision holds what would bring the template back, as a patch: {"spec":{"template":{…,"$patch":"replace"}}}. Equal
 * data is the same revision; rolling back to it gives it the highest number again. */
#include "controllers/revisions.h"

#include "controllers/pods.h"
#include "json/build.h"
#include "schema/types.h"

int revisions_init(struct controller *c, void **ret_state, struct error *err) {
        *ret_state = children_index(c, &res_pods);
        children_index(c, &res_controllerrevisions);
        return 0;
}

static int by_revision(const void *pa, const void *pb) {
        const struct object *a = *(struct object *const *) pa, *b = *(struct object *const *) pb;
        int64_t x = ControllerRevision_revision(object_json(a)), y = ControllerRevision_revision(object_json(b));

        return x != y ? (x < y ? -1 : 1) : str_cmp(object_name(a), object_name(b));
}

const struct json *revision_template(const struct object *revision) {
        return json_at_path(ControllerRevision_data(object_json(revision)), "spec", "template");
}

const struct object *revision_named(const struct revisions *r, struct str name) {
        for (size_t i = 0; i < r->all.n; i++)
                if (str_eq(object_name(r->all.v[i]), name))
                        return r->all.v[i];
        return NULL;
}

static void sort_all(struct json *v) {
        json_sort(v);
        json_each_member(m, v)
                sort_all(&m->value);
        json_each_item(it, v)
                sort_all(it);
}

/* Members by name: upstream compares revisions by their bytes, and Go prints maps so. */
static struct json data_of(struct arena *a, const struct object *owner) {
        struct json template = json_copy_tree(a, json_at_path(object_json(owner), "spec", "template"));

        json_set_cstr(a, &template, "$patch", "replace");
        sort_all(&template);
        return json_build(a, "{ spec: { template: %j } }", &template);
}

static int64_t next_revision(const struct revisions *r) {
        return r->all.n ? ControllerRevision_revision(object_json(r->all.v[r->all.n - 1])) + 1 : 1;
}

/* The name is taken: by the same content (we were here before), or by another, and then another hash is tried. */
static int collided(struct controller *c, struct arena *a, const struct object *owner, const struct json *data,
                    struct str name, struct revisions *r, struct error *err) {
        struct object *there = NULL;

        TRY(client_get(c->client, &res_controllerrevisions, object_namespace(owner), name, &there, err));
        if (is_controlled_by(there, object_uid(owner)) &&
            json_equal(ControllerRevision_data(object_json(there)), data)) {
                r->made = there;
                return 0;
        }
        object_unref(there);
        r->collisions++;
        return -EEXIST;
}

static int make(struct controller *c, struct arena *a, const struct api_resource *owner_res, const struct object *owner,
                const struct json *data, const char *hash_label, struct revisions *r, struct error *err) {
        const struct json *labels = json_at_path(object_json(owner), "spec", "template", "metadata", "labels");
        struct json own_labels = labels ? json_copy_shallow(a, labels) : json_new_object(),
                    ref = controller_ref(a, owner_res, owner);
        struct str hash, name;
        struct json body;
        int result;

        for (int try = 0; try < 5; try++) {
                hash = template_hash(a, data, r->collisions, true);
                name = arena_printf(a, "%" STR_FMT "-%" STR_FMT, STR_ARG(object_name(owner)), STR_ARG(hash));
                json_set_str(a, &own_labels, hash_label, hash);
                body = json_build(a,
                                  "{ kind: 'ControllerRevision', apiVersion: 'apps/v1', metadata: { name: %s, "
                                  "namespace: %s, labels: %j,"
                                  "  annotations: %j, ownerReferences: [ %j ] }, data: %j, revision: %l }",
                                  name, object_namespace(owner), &own_labels,
                                  json_at_path(object_json(owner), "metadata", "annotations"), &ref, data,
                                  next_revision(r));
                result = controller_create(c, &res_controllerrevisions, object_namespace(owner), &body, &r->made, err);
                if (result == -EEXIST) {
                        error_clear(err);
                        result = collided(c, a, owner, data, name, r, err);
                }
                if (result != -EEXIST)
                        return result;
        }
        return error_set(err, -EAGAIN, "no free name for a revision of %" STR_FMT, STR_ARG(object_name(owner)));
}

int revisions_sync(struct controller *c, struct arena *a, const struct api_resource *owner_res,
                   const struct object *owner, const struct selector *selector, const char *hash_label,
                   struct revisions *ret, struct error *err) {
        struct json data = data_of(a, owner), patch;
        struct revisions r = { .collisions = json_int(json_at_path(object_json(owner), "status", "collisionCount")) };

        TRY(claim_children(c, a, owner_res, owner, selector, &res_controllerrevisions,
                           children_index(c, &res_controllerrevisions), &r.all, NULL, err));
        qsort(r.all.v, r.all.n, sizeof(*r.all.v), by_revision);
        for (size_t i = r.all.n; i-- > 0 && !r.update;)
                if (json_equal(ControllerRevision_data(object_json(r.all.v[i])), &data))
                        r.update = r.all.v[i];
        if (!r.update) {
                TRY(make(c, a, owner_res, owner, &data, hash_label, &r, err));
                r.update = r.made;
        } else if (r.update != r.all.v[r.all.n - 1]) {
                patch = json_build(a, "{ revision: %l }", next_revision(&r));
                TRY(controller_patch(c, &res_controllerrevisions, r.update, STR(""), API_PATCH_MERGE, &patch, err));
        }
        r.name = object_name(r.update);
        r.hash = object_label(r.update, str_of(hash_label));
        *ret = r;
        return 0;
}

void revisions_release(struct revisions *r) {
        object_unref(TAKE_PTR(r->made));
}

static bool is_live(const struct revisions *r, const struct object *revision, struct object_list pods,
                    struct str in_use) {
        struct str name = object_name(revision), hash = object_label(revision, STR(REVISION_HASH));

        if (revision == r->update || str_eq(name, in_use))
                return true;
        for (size_t i = 0; i < pods.n; i++) { /* a DaemonSet's pods bear the hash, a StatefulSet's the name */
                struct str label = object_label(pods.v[i], STR(REVISION_HASH));

                if (label.p && (str_eq(label, name) || (hash.p && str_eq(label, hash))))
                        return true;
        }
        return false;
}

int revisions_trim(struct controller *c, const struct revisions *r, int64_t limit, struct object_list pods,
                   struct str in_use, struct error *err) {
        int64_t spare = -limit;

        for (size_t i = 0; i < r->all.n; i++)
                spare += !is_live(r, r->all.v[i], pods, in_use);
        for (size_t i = 0; i < r->all.n && spare > 0; i++) {
                if (is_live(r, r->all.v[i], pods, in_use))
                        continue;
                TRY(controller_delete(c, &res_controllerrevisions, r->all.v[i], NULL, err));
                spare--;
        }
        return 0;
}
