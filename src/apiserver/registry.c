/* Writing objects: create, update and patch of every kind, over one pipeline.
 *
 *   body ─▶ decode + strict check ─▶ default ─▶ admission: change ─▶ prepare (strategy.c) ─▶ validate
 *                                                  ▲                                            │
 *                                                  │     store_submit ◀─ text ◀─ admission: refuse
 *                                                  └───────┘ once more, when another writer was faster
 *
 * The tree of the object is built in the call's arena; the text is made once, by object_from_tree. Writers do not lock:
 * the store checks the revision that the change was made from. */
#include "apiserver/admission/admission.h"
#include "apiserver/extensions/custom.h"
#include "apiserver/request.h"
#include "apiserver/strategy.h"
#include "apiserver/writes.h"
#include "base/rand.h"
#include "json/build.h"
#include "schema/decode.h"
#include "schema/defaults.h"
#include "schema/types.h"

#define MAX_ATTEMPTS 32     /* of a write without a resourceVersion, against other writers */
#define MAX_NAME_ATTEMPTS 8 /* of generateName */
#define MAX_GENERATED_PREFIX 58

/* ---- metadata ---- */

struct json *meta_of(struct arena *a, struct json *obj) {
        return json_get_or_add_object(a, obj, "metadata");
}

int writes_match_name(struct str name, struct str wanted, struct error *err) {
        if (str_empty(name))
                return err_bad_request(err,
                                       "the name of the object (%" STR_FMT
                                       " based on URL) was undeterminable: name must be provided",
                                       STR_ARG(wanted));
        if (!str_eq(name, wanted))
                return err_bad_request(err,
                                       "the name of the object (%" STR_FMT
                                       ") does not match the name on the URL (%" STR_FMT ")",
                                       STR_ARG(name), STR_ARG(wanted));
        return 0;
}

int writes_match_request(struct op *op, struct json *obj, struct error *err) {
        struct arena *a = op->c->arena;
        struct json *meta = meta_of(a, obj);
        struct str name = json_str(json_getc(meta, "name")), ns = json_str(json_getc(meta, "namespace"));

        if (op->rest->resource->namespaced && op->c->verb == API_UPDATE && !str_empty(ns) &&
            !str_eq(ns, op->c->namespace))
                return err_bad_request(err, OTHER_NAMESPACE);
        if (op->c->verb != API_CREATE || !str_empty(op->c->name)) {
                if (str_empty(name) && op->c->verb != API_UPDATE)
                        json_set_str(a, meta, "name", op->c->name);
                else
                        TRY(writes_match_name(name, op->c->name, err));
        }
        if (!op->rest->resource->namespaced) {
                json_removec(meta, "namespace");
                return 0;
        }
        if (str_empty(op->c->namespace) && str_empty(ns))
                return err_bad_request(err, "an empty namespace may not be set during creation");
        if (str_empty(op->c->namespace))
                op->namespace = ns;
        if (!str_empty(ns) && !str_eq(ns, op->namespace))
                return err_bad_request(err, OTHER_NAMESPACE);
        json_set_str(a, meta, "namespace", op->namespace);
        return 0;
}

static void generate_name(struct op *op, struct json *meta) {
        struct str base = json_str(json_getc(meta, "generateName"));
        char suffix[5];

        rand_suffix(suffix, sizeof(suffix));
        op->name = base;
        if (!(op->rest->stored->strategy->flags & STRATEGY_IS_ADDRESS))
                op->name = arena_printf(op->c->arena, "%" STR_FMT "%" STR_FMT,
                                        STR_ARG(str_sub(base, 0, MAX_GENERATED_PREFIX)), (int) sizeof(suffix), suffix);
        json_set_str(op->c->arena, meta, "name", op->name);
}

static void fill_new_metadata(struct op *op, struct json *meta) {
        struct arena *a = op->c->arena;
        char uid[37];

        rand_uuid(uid);
        json_setc(a, meta, "uid", json_of_copy(a, str_n(uid, 36)));
        json_set_str(a, meta, "creationTimestamp", now_text(a));
        if (op->rest->stored->strategy->flags & STRATEGY_GENERATION)
                json_set_int(a, meta, "generation", 1);
}

/* ---- validation ---- */

/* Everything outside of metadata and status, and kind and apiVersion which never change. */
static bool spec_differs(const struct json *a, const struct json *b) {
        size_t n = 0;

        json_each_member(m, a) {
                struct str k = json_key(m);

                if (str_eqc(k, "metadata") || str_eqc(k, "status") || str_eqc(k, "kind") || str_eqc(k, "apiVersion"))
                        continue;
                if (!json_equal(&m->value, json_get(b, k)))
                        return true;
                n++;
        }
        json_each_member(m, b) {
                struct str k = json_key(m);

                if (!str_eqc(k, "metadata") && !str_eqc(k, "status") && !str_eqc(k, "kind") &&
                    !str_eqc(k, "apiVersion"))
                        n--;
        }
        return n != 0;
}

/* 1.0 is stored as 1, which is no float in what upstream compares: whoever sends it to a custom resource changes it. */
static bool has_whole_double(const struct json *v) {
        json_each_item(it, v)
                if (has_whole_double(it))
                        return true;
        json_each_member(m, v)
                if (has_whole_double(&m->value))
                        return true;
        return json_is(v, JSON_DOUBLE) && (double) json_int_or(v, 0) == v->d;
}

/* Without a status subresource the status of a custom object is a part like any other. */
static bool status_differs(const struct rest *r, const struct json *a, const struct json *b) {
        const struct json *x = json_getc(a, "status"), *y = json_getc(b, "status");

        return r->custom && !r->custom->status && (x && y ? !json_equal(x, y) : x != y);
}

/* What is wrong beside metadata. */
static void validate_rest(struct op *op, struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct rest *r = op->rest->stored;
        const struct strategy *st = r->strategy;

        if (op->sub && old && str_eqc(op->c->subresource, "status")) {
                if (!r->custom)
                        validate_status_rules(fe, r->resource->type, obj);
                fe->phase = 1;
                if (st->validate_status)
                        st->validate_status(fe, obj, old);
                fe->phase = 0;
        } else if (!r->custom) {
                validate_typed(fe, r->resource->type, obj);
                if (op->sub && str_eqc(op->c->subresource, "ephemeralcontainers"))
                        validate_ephemeral_update(fe, obj, old);
                else if (op->sub && str_eqc(op->c->subresource, "resize"))
                        validate_resize(fe, obj, old);
                else if (st->validate)
                        st->validate(fe, obj, old);
                fe->phase = 0;
        }
        if (r->custom)
                custom_validate(op, fe, obj, old);
}

/* An update is refused: what upstream tells of it, which looks at metadata more than once, and at some kinds too. */
static void validate_again(struct op *op, struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct rest *r = op->rest->stored;
        bool status = op->sub && str_eqc(op->c->subresource, "status"), namespaced = r->resource->namespaced;
        const char *said = status                                    ? r->strategy->status_looks
                           : str_eqc(op->c->subresource, "finalize") ? "u"
                                                                     : r->strategy->looks,
                   *looks = said ? said : "u";

        fe->list.n = 0;
        for (const char *look = "ac"; *look; look++)
                validate_metadata_again(fe, obj, old, namespaced, r->strategy->name, *look);
        field_errors_settle(fe);
        for (; *looks; looks++)
                if (*looks == '2') {
                        validate_metadata_again(fe, obj, old, namespaced, r->strategy->name, 'o');
                        validate_rest(op, fe, obj, NULL);
                        field_errors_settle(fe);
                } else {
                        fe->phase = *looks == 'u' ? -2 : *looks == 'U' ? 1 + status : 0;
                        validate_metadata_again(fe, obj, old, namespaced, r->strategy->name, *looks);
                        fe->phase = 0;
                }
        validate_rest(op, fe, obj, old);
}

static struct str prefix_of_names(const struct json *obj) {
        return json_str(json_at_path(obj, "metadata", "generateName"));
}

/* As a write of the status may have left it. */
static bool has_bad_prefix(const struct op *op, const struct json *obj) {
        struct field_errors fe = { .a = op->c->arena };
        name_check name = op->rest->stored->strategy->name;

        if (!str_empty(prefix_of_names(obj)))
                check_prefix(&fe, NULL, prefix_of_names(obj), name ? name : check_dns_subdomain);
        return fe.list.n > 0;
}

static bool is_stored_as_protobuf(const struct rest *r) {
        return !r->custom && !str_eqc(r->group, "apiextensions.k8s.io") && !str_eqc(r->group, "apiregistration.k8s.io");
}

int writes_validate(struct op *op, struct json *obj, const struct json *old, struct error *err) {
        const struct rest *r = op->rest->stored;
        const struct strategy *st = r->strategy;
        struct field_errors fe = { .a = op->c->arena, .old = old };
        struct field_errors other = { .a = op->c->arena };
        /* its metadata is looked at when nothing else is wrong */
        bool bare = !old && (r->custom ? !custom_check_kind(&other, op->rest, obj) : st->looks && !*st->looks);
        struct str kind = r->kind, group = r->group, version;

        if (r->custom) { /* what it says it is may be wrong, too */
                kind = json_str(json_getc(obj, "kind"));
                api_parse_group_version(json_str(json_getc(obj, "apiVersion")), &group, &version, NULL);
        }
        if (!r->custom) {
                fe.sent = op->c->verb == API_PATCH                                         ? op->sent
                          : !op->sub || str_eqc(op->c->subresource, "ephemeralcontainers") ? op->c->body
                                                                                           : NULL;
                fe.object = obj;
                fe.type = r->resource->type;
        }
        if (!bare)
                validate_metadata(&fe, obj, old, r->resource->namespaced, st->name);
        validate_rest(op, &fe, obj, old);
        if (!old && fe.list.n == 0 && (bare || st->name == check_any_name))
                validate_metadata(&fe, obj, NULL, r->resource->namespaced, bare ? st->name : check_path_segment);
        if (old && (fe.list.n > 0 || !str_eq(prefix_of_names(obj), prefix_of_names(old)) || has_bad_prefix(op, obj)))
                validate_again(op, &fe, obj, old);
        if (r->custom && fe.list.n == 0)
                custom_warn(op, obj, old);
        if (st->warn && fe.list.n == 0 && !op->sub)
                st->warn(op, obj);
        if (st->warn_status && fe.list.n == 0 && old && op->sub && str_eqc(op->c->subresource, "status"))
                st->warn_status(op, obj);
        if (op->odd && is_stored_as_protobuf(r)) {
                *obj = json_copy_tree(op->c->arena, obj); /* it shares with what is stored */
                schema_null_empty(r->resource->type, obj);
        }
        TRY(field_errors_finish(&fe, kind, group, op->name, err));
        if (op->rest != r && !r->custom) { /* its defaults in the version that is stored, which nobody has looked at */
                *obj = json_copy_tree(op->c->arena, obj);
                schema_default(op->c->arena, r->resource->type, obj);
                schema_reorder(op->c->arena, r->resource->type, obj);
        }
        return st->permit && !op->sub ? st->permit(op, obj, old, err) : 0;
}

/* ---- answers ---- */

static void answer(struct op *op, int code) {
        if (op->then)
                op->then(op);
        else
                op_finish(op, code);
}

/* A dry run answers with the object as it would have been written. */
static void finish_dry(struct op *op, int code) {
        uint64_t sent;

        if (op->undo)
                op->undo(op);
        if (op->old)
                object_set_revision(op->result, object_revision(op->old));
        else if (str_to_u64(json_str(json_at_path(op->c->body, "metadata", "resourceVersion")), &sent) == 0)
                object_set_revision(op->result, sent);
        answer(op, code);
}

/* The object could be written; one of the quotas to charge is fuller by now, or gone. */
static bool quota_refused(const struct op *op) {
        return op->txn.failed_op > 0 && (op->txn.result == -EAGAIN || op->txn.result == -ENOENT);
}

/* The same, or an address has been taken meanwhile. */
static bool companion_refused(const struct op *op) {
        return quota_refused(op) || (op->txn.failed_op > 0 && op->txn.result == -EEXIST);
}

/* managedFields can be what makes an object too large: it goes without. Who applies wants to own what it says. */
static bool slimmed(struct op *op) {
        if (op->txn.result != -E2BIG || op->applied || !json_removec(meta_of(op->c->arena, &op->tree), "managedFields"))
                return false;
        object_unref(TAKE_PTR(op->result));
        return true;
}

/* ---- create ---- */

static void put_new(struct op *op);

static void created(struct op *op) {
        if (op->txn.result == 0)
                return op_finish(op, 201);
        if (slimmed(op))
                return put_new(op);
        if (op->txn.result == -EEXIST && op->generated && !op->taken && ++op->attempts < MAX_NAME_ATTEMPTS) {
                object_unref(TAKE_PTR(op->result));
                generate_name(op, meta_of(op->c->arena, &op->tree));
                return put_new(op);
        }
        if (quota_refused(op) && ++op->attempts < MAX_ATTEMPTS) {
                op_refresh(op); /* a quota is fuller now, or gone */
                object_unref(TAKE_PTR(op->result));
                if (admission_resource_quota(op->admission, &op->c->error) < 0)
                        op_fail(op);
                else
                        put_new(op);
                return;
        }
        if (op->txn.result == -EEXIST && (op->upsert || op->txn.failed_op > 0) && ++op->attempts < MAX_ATTEMPTS) {
                if (op->undo)
                        op->undo(op);
                object_unref(TAKE_PTR(op->result));
                op_refresh(op);
                (op->c->verb == API_PATCH    ? registry_patch
                 : op->c->verb == API_UPDATE ? registry_update
                                             : registry_create)(op);
                return;
        }
        writes_store_error(op);
        op_fail(op);
}

static void copy_member(struct arena *a, struct json *to, const struct json *from, const char *key) {
        json_put(a, to, key, json_getc(from, key));
}

/* op->tree is finished: to the store with it. */
static void put_new(struct op *op) {
        const struct rest *r = op->rest->stored;
        struct json *meta = meta_of(op->c->arena, &op->tree);
        bool dry = op->c->options.dry_run, there;

        if (r->strategy->flags & STRATEGY_TEMPLATE_LABELS && json_len(json_getc(meta, "labels")) == 0) {
                copy_member(op->c->arena, meta, json_at_path(&op->tree, "spec", "template", "metadata"), "labels");
                schema_reorder(op->c->arena, &type_ObjectMeta, meta);
        }
        if (!op_convert_out(op, put_new))
                return;
        op->result = object_from_tree(&op->tree);
        there = op->taken || (dry && rest_get(op->snap, r, op->namespace, op->name));
        if (dry && !there) {
                finish_dry(op, 201);
        } else if (!dry && op->pinned) {
                error_status(&op->c->error, REASON_UNKNOWN,
                             "resourceVersion should not be set on objects to be created");
                op_fail(op);
        } else if (there) {
                op->txn = (struct store_txn) { .result = -EEXIST };
                created(op);
        } else {
                op->key = rest_key(op->c->arena, r, op->namespace, op->name);
                op->ops[0] = (struct store_op) { .kind = STORE_CREATE, .key = op->key, .object = op_stored_object(op) };
                op_submit(op, 1, created);
        }
}

void writes_wipe(struct json *meta) {
        static const char *const server_owned[] = { "uid", "selfLink", "deletionGracePeriodSeconds",
                                                    "deletionTimestamp" };

        for (size_t i = 0; i < ARRAY_SIZE(server_owned); i++)
                json_removec(meta, server_owned[i]);
        struct json *created = json_get_mut(meta, STR("creationTimestamp"));
        if (created) /* Go always prints it */
                *created = json_null();
}

/* What only the server sets goes before admission, and comes after it. */
static void begin_new(struct op *op) {
        struct json *meta = meta_of(op->c->arena, &op->tree);
        uint64_t revision;

        op->pinned = op->c->verb == API_CREATE && !op->sub &&
                     str_to_u64(json_str(json_getc(meta, "resourceVersion")), &revision) == 0 && revision != 0;
        if (op->c->verb == API_CREATE)
                writes_wipe(meta);
        else if (!op->c->options.dry_run) /* an update that creates only fills in: it may be of one that goes */
                json_removec(meta, "selfLink");
        if (op->rest->custom)
                json_removec(meta, "creationTimestamp");
        json_removec(meta, "resourceVersion");
        if (op->c->verb == API_CREATE)
                writes_merge_owners(op, &op->tree, "");
        writes_track_fields(op, NULL, &op->tree);
        op->name = json_str(json_getc(meta, "name"));
        if (str_empty(op->name)) /* for messages, until there is one */
                op->name = json_str(json_getc(meta, "generateName"));
}

/* What belongs to features that are off has been seen by admission and has its managers, and goes no further. */
static bool drop_off(struct op *op) {
        return (op->odd || op->rest != op->rest->stored) && !op->rest->custom &&
               schema_drop_off(op->c->arena, op->rest->stored->resource->type, &op->tree);
}

/* What is new has no status yet, whatever the client says, or has an older version hold it elsewhere. */
static void forget_status(struct op *op) {
        const struct rest *r = op->rest->stored;
        struct json none = json_new_object(), empty;

        if (r->custom || r->resource->transient || r->strategy->flags & STRATEGY_KEEP_STATUS ||
            (r == op->rest && json_len(json_getc(op->c->body, "status")) == 0))
                return;
        if (schema_decode(op->c->arena, r->resource->type, &none, NULL, &empty, NULL) == 0)
                copy_member(op->c->arena, &op->tree, &empty, "status");
}

static int complete_new(struct op *op, struct error *err) {
        const struct rest *r = op->rest->stored;

        drop_off(op);
        writes_merge_owners(op, &op->tree, AFTER_ADMISSION);
        struct json *meta = meta_of(op->c->arena, &op->tree);
        op->name = json_str(json_getc(meta, "name"));
        op->generated = str_empty(op->name) && !str_empty(json_str(json_getc(meta, "generateName")));
        if (op->generated)
                generate_name(op, meta);
        fill_new_metadata(op, meta);
        forget_status(op);
        if (r->strategy->prepare_create) {
                int e = r->strategy->prepare_create(op, &op->tree, err);
                if (e < 0)
                        return e;
        }
        schema_reorder(op->c->arena, r->resource->type, &op->tree);
        return writes_validate(op, &op->tree, NULL, err);
}

/* Who may change what is there may not therefore make what is not. */
static int authorize_new(struct op *op, struct error *err) {
        struct attributes at = call_attributes(op->c, op->rest, "create");

        return op->upsert && !op->c->authorized ? authorize_or_error(op->s, &op->c->user, &at, err) : 0;
}

static void new_admitted(struct op *op) {
        if (complete_new(op, &op->c->error) < 0 || authorize_new(op, &op->c->error) < 0)
                op_fail(op);
        else
                admission_validate(op, put_new);
}

void registry_write_new(struct op *op) {
        if (!op->snap)
                op_refresh(op);
        op->old = NULL;
        begin_new(op);
        admission_admit(op, ADMIT_CREATE, &op->tree, NULL, new_admitted);
}

/* What says that an object goes is nothing that a client may say of a new one. */
static void wipe_end(struct json *meta) {
        json_removec(meta, "deletionGracePeriodSeconds");
        json_removec(meta, "deletionTimestamp");
}

static int decode_new(struct op *op, const struct json *body, struct error *err) {
        TRY(registry_decode(op, body, &op->tree, err));
        TRY(writes_match_request(op, &op->tree, err));
        registry_default(op, &op->tree);
        if (op->rest != op->rest->stored) /* or it had owners in that version */
                wipe_end(meta_of(op->c->arena, &op->tree));
        return writes_to_stored(op, err);
}

void registry_create(struct op *op) {
        if (decode_new(op, op->c->body, &op->c->error) < 0)
                return op_fail(op);
        registry_write_new(op);
}

/* ---- update ---- */

/* What no client changes. When an object goes they cannot say while it does not, which validation finds. */
static void carry_metadata(struct op *op, struct json *meta, const struct json *old) {
        static const char *const kept[] = { "name", "namespace", "generation", "resourceVersion", "creationTimestamp" };
        struct arena *a = op->c->arena;

        for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
                copy_member(a, meta, old, kept[i]);
        if (json_is(json_getc(old, "deletionTimestamp"), JSON_STRING))
                copy_member(a, meta, old, "deletionTimestamp");
        if (str_empty(json_str(json_getc(meta, "uid"))))
                copy_member(a, meta, old, "uid");
        if (!op->c->options.dry_run) /* what is stored has none */
                json_removec(meta, "selfLink");
        if (!json_getc(meta, "deletionGracePeriodSeconds"))
                copy_member(a, meta, old, "deletionGracePeriodSeconds");
}

/* A subresource changes its part of the object only: the rest is the stored object's. */
static void merge_subresource(struct op *op, struct json *obj, const struct json *old) {
        static const char *const fixed[] = { "deletionTimestamp", "labels", "annotations", "finalizers",
                                             "ownerReferences" };
        struct arena *a = op->c->arena;
        const struct strategy *st = op->rest->stored->strategy;
        const struct json *old_meta = json_getc(old, "metadata"), *sent_meta = json_getc(obj, "metadata");
        struct str sub = op->c->subresource;
        bool status = str_eqc(sub, "status"), metadata = str_eqc(sub, "finalize") || str_eqc(sub, "approval");
        struct json sent = *obj, meta = sent_meta ? json_copy_shallow(a, sent_meta) : json_new_object();

        if (status && st->flags & STRATEGY_STATUS_ONLY) {
                meta = json_copy_shallow(a, old_meta);
                copy_member(a, &meta, sent_meta, "managedFields");
        } else if (status ? st->flags & STRATEGY_STATUS_RESETS : !metadata) {
                for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
                        copy_member(a, &meta, old_meta, fixed[i]);
                json_removec(&meta, "selfLink");
        }
        if (status && st->flags & STRATEGY_STATUS_KEEPS_OWNERS) { /* old kubelets get these wrong */
                json_removec(&meta, "deletionTimestamp");
                copy_member(a, &meta, old_meta, "ownerReferences");
        }
        if (status && st->flags & STRATEGY_STATUS_KEEPS_LABELS)
                copy_member(a, &meta, old_meta, "labels");
        if (st->flags & STRATEGY_TEMPLATE_LABELS && json_len(json_getc(&meta, "labels")) == 0)
                copy_member(a, &meta, json_at_path(old, "spec", "template", "metadata"), "labels");
        carry_metadata(op, &meta, old_meta);
        *obj = json_copy_shallow(a, old);
        json_setc(a, obj, "metadata", meta);
        if (status)
                copy_member(a, obj, &sent, "status");
        else
                writes_merge_part(op, obj, &sent, old);
        if (status && st->prepare_status)
                st->prepare_status(op, obj, old);
        old = schema_respell(a, op->rest->stored->resource->type, old, obj);
        if (!status && (st->flags & STRATEGY_GENERATION) && spec_differs(obj, old)) /* ephemeralcontainers, resize */
                json_set_int(a, meta_of(a, obj), "generation", json_int(json_getc(old_meta, "generation")) + 1);
}

static bool metadata_differs(const char *member, const struct json *a, const struct json *b) {
        const struct json *x = member ? json_getc(a, member) : NULL, *y = member ? json_getc(b, member) : NULL;

        return json_len(x) != json_len(y) || (json_len(x) > 0 && !json_equal(x, y));
}

/* An empty list or map outside of metadata, as which none is stored. */
static bool was_empty(const struct op *op, const struct json *obj) {
        const struct schema_type *t = op->rest->resource->type;

        json_each_member(m, op->c->verb == API_PATCH ? op->sent : op->c->body) {
                const struct schema_field *f = schema_field(t, json_key(m));

                if (f && !str_eqc(json_key(m), "metadata") &&
                    schema_was_empty(f->type, &m->value, json_get(obj, json_key(m))))
                        return true;
        }
        return false;
}

/* off: something of features that are has been sent. */
static int merge_main(struct op *op, struct json *obj, const struct json *old, bool off, struct error *err) {
        const struct rest *r = op->rest->stored;
        struct arena *a = op->c->arena;
        const struct json *old_meta = json_getc(old, "metadata");
        struct json *meta = meta_of(a, obj), kept;

        carry_metadata(op, meta, old_meta);
        if (api_subresource(r->resource, STR("status")) && !(r->strategy->flags & STRATEGY_STATUS_IS_OPEN))
                copy_member(a, obj, old, "status");
        old = schema_respell(a, r->resource->type, old, obj);
        if (r->strategy->prepare_update) {
                int e = r->strategy->prepare_update(op, obj, old, err);

                if (e < 0)
                        return e;
        }
        kept = op->odd ? json_copy_tree(a, obj) : *obj;
        if (op->odd) /* empty is what none is */
                schema_null_empty(r->resource->type, &kept);
        if ((r->strategy->flags & STRATEGY_GENERATION) &&
            ((op->odd && r->custom) || spec_differs(&kept, old) || status_differs(r, obj, old) ||
             (r->strategy->flags & STRATEGY_COUNTS_EMPTY && was_empty(op, obj)) ||
             (r->strategy->flags & STRATEGY_COUNTS_OFF && off) ||
             metadata_differs(r->strategy->counted, json_getc(obj, "metadata"), old_meta) ||
             (r->custom && has_whole_double(obj))))
                json_set_int(a, meta_of(a, obj), "generation", json_int(json_getc(old_meta, "generation")) + 1);
        return 0;
}

static void changed(struct op *op) {
        if (op->txn.result == 0)
                return answer(op, 200);
        if (slimmed(op))
                return writes_put_changed(op);
        /* whoever has the turn waits for newcomers only, who soon stand in line */
        if ((companion_refused(op) || (op->txn.result == -EAGAIN && !op->pinned)) &&
            (++op->attempts < MAX_ATTEMPTS || op->has_turn) && op->again) {
                if (op->undo)
                        op->undo(op);
                op->undo = NULL;
                object_unref(TAKE_PTR(op->result));
                if (op->attempts > 1 && turn_wait(op))
                        return;
                op_refresh(op);
                op->again(op);
                return;
        }
        writes_store_error(op);
        op_fail(op);
}

/* The last finalizer of an object that waits for deletion is gone: the update deletes it. */
static bool completes_deletion(const struct json *obj) {
        const struct json *meta = json_getc(obj, "metadata"), *spec = json_getc(obj, "spec");
        const struct json *grace = json_getc(meta, "deletionGracePeriodSeconds");

        if (!json_is(json_getc(meta, "deletionTimestamp"), JSON_STRING) || json_len(json_getc(meta, "finalizers")) > 0)
                return false;
        if (str_eqc(json_str(json_getc(obj, "kind")), "Namespace") && json_len(json_getc(spec, "finalizers")) > 0)
                return false;
        return json_int(grace) == 0;
}

void writes_put_changed(struct op *op) {
        const struct rest *r = op->rest->stored;
        bool delete = completes_deletion(&op->tree);

        writes_keep_times(op);
        if (!delete &&!op_convert_out(op, writes_put_changed)) /* what goes is answered as it was made */
                return;
        if (!delete &&!op_stores_anew(op) &&
            !store_is_stale(op->s->store, rest_key(op->c->arena, r, op->namespace, op->name))) {
                op->result = object_ref(op->old);
                if (op->undo)
                        op->undo(op);
                return answer(op, 200);
        }
        op->result = object_from_tree(&op->tree);
        if (op->c->options.dry_run)
                return finish_dry(op, 200);
        op->key = rest_key(op->c->arena, r, op->namespace, op->name);
        if (delete) /* what is answered is never stored: who watches sees the last that was */
                object_set_revision(op->result, object_revision(op->old));
        op->ops[0] = (struct store_op) {
                .kind = delete ? STORE_DELETE : STORE_UPDATE,
                .key = op->key,
                .object = delete ? NULL : op_stored_object(op),
                .expect = object_revision(op->old),
        };
        op_submit(op, 1, changed);
}

static int complete_changed(struct op *op, struct error *err) {
        const struct rest *r = op->rest->stored;
        struct arena *a = op->c->arena;
        const struct json *old = object_json(op->old);

        bool off = drop_off(op);
        if (str_empty(json_str(json_getc(&op->tree, "apiVersion"))))
                return error_status(err, REASON_INTERNAL,
                                    "Internal error occurred: Object 'apiVersion' is missing in 'object has no "
                                    "apiVersion field'");
        writes_merge_owners(op, &op->tree, AFTER_ADMISSION);
        if (op->sub) {
                merge_subresource(op, &op->tree, old);
        } else {
                int e = merge_main(op, &op->tree, old, off, err);
                if (e < 0)
                        return e;
        }
        schema_reorder(a, r->resource->type, &op->tree);
        return writes_validate(op, &op->tree, schema_respell(a, r->resource->type, old, &op->tree), err);
}

static void change_admitted(struct op *op) {
        if (writes_check_current(op, &op->tree, &op->c->error) < 0 || complete_changed(op, &op->c->error) < 0)
                op_fail(op);
        else
                admission_validate(op, writes_put_changed);
}

static void change_tracked(struct op *op) {
        if (op->seen.conflicts && apply_report_conflicts(op->seen.conflicts, op->c->subresource, &op->c->error) < 0)
                op_fail(op);
        else
                admission_admit(op, ADMIT_UPDATE, &op->tree, object_json(op->old), change_admitted);
}

void registry_write_changed(struct op *op) {
        writes_track_fields(op, object_json(op->old), &op->tree);
        op->next_version = 0;
        if (op_track_versions(op, change_tracked))
                change_tracked(op);
}

/* The object to change, and whether the body was made from it. */
int writes_check_current(struct op *op, const struct json *body, struct error *err) {
        struct str rv = json_str(json_at_path(body, "metadata", "resourceVersion"));
        uint64_t revision = 0;

        if (str_empty(rv) || str_eqc(rv, "0")) {
                struct field_errors fe = { .a = op->c->arena };
                struct json zero = json_of_raw(STR("0x0")); /* Go's unsigned */

                if (!op->old || !(op->rest->stored->strategy->flags & STRATEGY_CONDITIONAL) ||
                    str_eqc(op->c->subresource, "scale") || (op->c->verb != API_UPDATE && op->c->verb != API_PATCH))
                        return 0;
                field_invalid(&fe, PATH(PATH(NULL, "metadata"), "resourceVersion"), &zero,
                              "must be specified for an update");
                return field_errors_finish(&fe, str_of(op->rest->resource->plural), op->rest->group, op->name, err);
        }
        int r = str_to_u64(rv, &revision);
        if (r < 0)
                return error_status(err, REASON_UNKNOWN, "strconv.ParseUint: parsing \"%" STR_FMT "\": %s", STR_ARG(rv),
                                    request_number_wrong(r));
        op->pinned = op->old && op->c->verb == API_UPDATE;
        if (op->old && revision != object_revision(op->old))
                return err_conflict(err, op->rest, op->name, OBJECT_MODIFIED);
        return 0;
}

static int decode_changed(struct op *op, struct error *err) {
        TRY(registry_decode(op, op->c->body, &op->tree, err));
        TRY(writes_match_request(op, &op->tree, err));
        op->name = json_str(json_at_path(&op->tree, "metadata", "name"));
        writes_merge_owners(op, &op->tree, "");
        registry_default(op, &op->tree);
        return 0;
}

/* A uid in the body of an update is a precondition. */
static int check_uid(struct op *op, struct error *err) {
        return op_check_identity(op, "UID", json_str(json_at_path(&op->tree, "metadata", "uid")),
                                 op->old ? object_uid(op->old) : STR(""), err);
}

void registry_update(struct op *op) {
        struct error *err = &op->c->error;
        unsigned flags = op->rest->stored->strategy->flags;
        bool status = flags & STRATEGY_STATUS_CREATES && str_eqc(op->c->subresource, "status"),
             creates = flags & STRATEGY_CREATE_ON_UPDATE && (!op->sub || status);

        op->again = registry_update;
        op_refresh(op);
        if (decode_changed(op, err) < 0)
                goto fail;
        if (!op_load(op, registry_update))
                return;
        if (check_uid(op, err) < 0 || (!op->old && creates && writes_check_current(op, &op->tree, err) < 0) ||
            writes_to_stored(op, err) < 0)
                goto fail;
        if (!op->old) {
                if (creates) {
                        op->upsert = true;
                        json_removec(meta_of(op->c->arena, &op->tree), "resourceVersion");
                        return registry_write_new(op);
                }
                err_not_found(err, op->rest, op->name);
                goto fail;
        }
        registry_write_changed(op);
        return;
fail:
        op_fail(op);
}
