/* See wire.h. Paths, options and Status as
 * https://kubernetes.io/docs/reference/using-api/api-concepts/ describes them. */
#include "client/wire.h"

#include <inttypes.h>

#include "base/encode.h"
#include "json/build.h"

#define MAX_LIST_MESSAGE 4096 /* of an answer that is no Status */

const struct api_resource wire_discovery = { .group = "", .version = "", .plural = "" };

const char *wire_method(const struct api_call *c) {
        static const char *const methods[] = {
                [API_GET] = "GET",       [API_LIST] = "GET",
                [API_WATCH] = "GET",     [API_CREATE] = "POST",
                [API_UPDATE] = "PUT",    [API_PATCH] = "PATCH",
                [API_DELETE] = "DELETE", [API_DELETE_COLLECTION] = "DELETE",
                [API_CONNECT] = "POST",
        };

        return methods[c->verb];
}

/* ---- path and query ---- */

static void add_segment(struct buf *dst, struct str s) {
        if (str_empty(s))
                return;
        buf_putc(dst, '/');
        url_encode(dst, s);
}

static void add_query(struct buf *dst, bool *first, const char *key, struct str value) {
        if (str_empty(value))
                return;
        buf_printf(dst, "%c%s=", *first ? '?' : '&', key);
        url_encode(dst, value);
        *first = false;
}

static void add_number(struct buf *dst, bool *first, const char *key, int64_t n) {
        if (n <= 0)
                return;
        buf_printf(dst, "%c%s=%" PRId64, *first ? '?' : '&', key, n);
        *first = false;
}

static void add_flag(struct buf *dst, bool *first, const char *key, bool on) {
        if (on)
                add_query(dst, first, key, STR("true"));
}

void wire_path(struct buf *dst, const char *prefix, const struct api_call *c, bool watch) {
        const struct api_options *o = &c->options;
        static const char *const validations[] = { "", "Ignore", "Warn", "Strict" };
        bool first = true;

        if (c->resource == &wire_discovery)
                return buf_printf(dst, "%s/apis", prefix);
        buf_printf(dst, "%s%s%s/%s", prefix, *c->resource->group ? "/apis/" : "/api", c->resource->group,
                   c->resource->version);
        if (c->resource->namespaced && !str_empty(c->namespace)) {
                buf_addc(dst, "/namespaces");
                add_segment(dst, c->namespace);
        }
        add_segment(dst, str_of(c->resource->plural));
        add_segment(dst, c->name);
        add_segment(dst, c->subresource);

        add_flag(dst, &first, "watch", watch);
        add_query(dst, &first, "labelSelector", o->label_selector);
        add_query(dst, &first, "fieldSelector", o->field_selector);
        add_query(dst, &first, "resourceVersion", o->resource_version);
        add_query(dst, &first, "resourceVersionMatch", o->resource_version_match);
        add_number(dst, &first, "limit", o->limit);
        add_query(dst, &first, "continue", o->continue_token);
        add_flag(dst, &first, "allowWatchBookmarks", o->watch_bookmarks);
        add_flag(dst, &first, "sendInitialEvents", o->send_initial_events);
        add_number(dst, &first, "timeoutSeconds", o->timeout_seconds);
        if (c->verb == API_DELETE || c->verb == API_DELETE_COLLECTION || c->verb == API_GET || c->verb == API_LIST ||
            watch)
                return;
        if (o->dry_run)
                add_query(dst, &first, "dryRun", STR("All"));
        add_flag(dst, &first, "force", o->force);
        add_query(dst, &first, "fieldManager", o->field_manager);
        add_query(dst, &first, "fieldValidation", str_of(validations[o->field_validation]));
}

const char *wire_accept(const struct api_call *c) {
        return c->resource == &wire_discovery ? "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
                                              : "application/json";
}

/* ---- bodies ---- */

static struct json delete_options(struct arena *a, const struct api_options *o) {
        struct json options = json_build(a, "{ kind: 'DeleteOptions', apiVersion: 'v1' }"),
                    preconditions = json_new_object();

        if (o->grace_period_seconds >= 0)
                json_set_int(a, &options, "gracePeriodSeconds", o->grace_period_seconds);
        if (!str_empty(o->precondition_uid))
                json_set_str(a, &preconditions, "uid", o->precondition_uid);
        if (!str_empty(o->precondition_resource_version))
                json_set_str(a, &preconditions, "resourceVersion", o->precondition_resource_version);
        if (json_len(&preconditions))
                json_setc(a, &options, "preconditions", preconditions);
        if (!str_empty(o->propagation_policy))
                json_set_str(a, &options, "propagationPolicy", o->propagation_policy);
        if (o->dry_run)
                json_setc(a, &options, "dryRun", json_build(a, "[ 'All' ]"));
        return options;
}

const char *wire_body(struct buf *dst, const struct api_call *c) {
        static const char *const patches[] = {
                [API_PATCH_NONE] = "application/merge-patch+json",
                [API_PATCH_JSON] = "application/json-patch+json",
                [API_PATCH_MERGE] = "application/merge-patch+json",
                [API_PATCH_STRATEGIC] = "application/strategic-merge-patch+json",
                [API_PATCH_APPLY] = "application/apply-patch+yaml", /* JSON is YAML */
        };

        if (c->verb == API_DELETE || c->verb == API_DELETE_COLLECTION) {
                struct json options = delete_options(c->arena, &c->options);

                json_write(dst, &options);
                return "application/json";
        }
        if (!c->body)
                return NULL;
        json_write(dst, c->body);
        return c->verb == API_PATCH ? patches[c->patch] : "application/json";
}

/* ---- errors ---- */

static enum status_reason reason_of(struct str text, int http_status) {
        enum status_reason r = status_reason_of(text);

        if (r != REASON_UNKNOWN)
                return r;
        for (r = REASON_BAD_REQUEST; r <= REASON_SERVER_TIMEOUT; r++)
                if (status_reason_code(r) == http_status)
                        return r;
        return http_status == 409 ? REASON_CONFLICT : REASON_UNKNOWN;
}

static int status_to_error(struct error *err, const struct json *status, int http_status) {
        const struct json *details = json_getc(status, "details");
        struct str message = json_str(json_getc(status, "message"));

        error_status(err, reason_of(json_str(json_getc(status, "reason")), http_status), "%" STR_FMT, STR_ARG(message));
        err->code = (int) json_int_or(json_getc(status, "code"), http_status);
        if (err->err == 0)
                err->err = -EIO;
        if (!details)
                return err->err;
        error_details(err, json_str(json_getc(details, "name")), json_str(json_getc(details, "group")),
                      json_str(json_getc(details, "kind")));
        err->retry_after_seconds = (int) json_int(json_getc(details, "retryAfterSeconds"));
        json_each_item(c, json_getc(details, "causes")) {
                _cleanup_free_ char *reason = str_dup(json_str(json_getc(c, "reason")));

                error_add_cause(err, reason, json_str(json_getc(c, "field")), "%" STR_FMT,
                                STR_ARG(json_str(json_getc(c, "message"))));
        }
        return err->err;
}

int wire_error(struct error *err, int http_status, struct str body) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json *j;

        if (json_parse(a, body, NULL, &j, NULL) == 0 && str_eqc(json_str(json_getc(j, "kind")), "Status"))
                return status_to_error(err, j, http_status);
        body = str_trim(body);
        body.n = MIN(body.n, (size_t) MAX_LIST_MESSAGE);
        error_status(err, reason_of(STR(""), http_status), "%" STR_FMT,
                     STR_ARG(str_empty(body) ? STR("the server gave no reason") : body));
        err->code = http_status;
        if (err->err == 0)
                err->err = -EIO;
        return err->err;
}

/* ---- objects ---- */

static uint64_t revision_of(const struct json *j) {
        uint64_t revision = 0;

        return str_to_u64(json_str(json_at_path(j, "metadata", "resourceVersion")), &revision) < 0 ? 0 : revision;
}

/* Items of a typed list do not repeat their kind; an object by itself always says it. */
static struct object *item_object(struct arena *a, const struct api_resource *r, const struct json *item) {
        char gv[320];
        struct json full;

        if (json_getc(item, "kind"))
                full = *item;
        else {
                full = json_build(a, "{ kind: %c, apiVersion: %S }", r->kind, api_version_of(gv, r));
                json_each_member(m, item)
                        json_set(a, &full, json_key(m), m->value);
        }
        struct object *o = object_from_tree(&full);
        object_set_revision(o, revision_of(item));
        return o;
}

static void list_of_json(struct api_call *c, const struct json *j) {
        const struct json *items = json_getc(j, "items"), *meta = json_getc(j, "metadata");
        struct api_list *l = xcalloc(1, sizeof(*l));

        l->items = xcalloc(json_len(items) + 1, sizeof(*l->items));
        json_each_item(it, items)
                l->items[l->n++] = item_object(c->arena, c->resource, it);
        l->revision = revision_of(j);
        l->continue_token = json_str(json_getc(meta, "continue"));
        if (l->continue_token.n > 0) /* the list's own, as api_list_free has it */
                l->continue_token.p = str_dup(l->continue_token);
        else
                l->continue_token.p = NULL;
        l->remaining = json_int_or(json_getc(meta, "remainingItemCount"), -1);
        c->list = l;
}

void wire_answer(struct api_call *c, int http_status, struct str body) {
        struct json *j;

        c->code = http_status;
        if (http_status >= 400) {
                wire_error(&c->error, http_status, body);
                return;
        }
        if (c->verb == API_LIST) {
                if (json_parse(c->arena, body, NULL, &j, &c->error) == 0)
                        list_of_json(c, j);
        } else if (json_scan(body, (const char *const[]) { "metadata", "resourceVersion", NULL }).n > 0)
                object_from_text(body, 0, &c->object, &c->error);
        else if (json_parse(c->arena, body, &(struct json_parse_opts) { .copy_strings = true }, &j, &c->error) == 0)
                c->tree = j; /* a Status, a Scale: nothing that is stored */
        if (c->error.err < 0) {
                error_prefix(&c->error, "couldn't parse the server's answer");
                c->code = 500;
        }
}

int wire_event(struct str line, enum api_event_type *ret_type, struct object **ret_object, uint64_t *ret_revision,
               struct error *err) {
        static const char *const types[] = {
                [API_ADDED] = "\"ADDED\"",       [API_MODIFIED] = "\"MODIFIED\"", [API_DELETED] = "\"DELETED\"",
                [API_BOOKMARK] = "\"BOOKMARK\"", [API_ERROR] = "\"ERROR\"",
        };
        struct str type = json_scan(line, (const char *const[]) { "type", NULL }),
                   object = json_scan(line, (const char *const[]) { "object", NULL });
        struct object *o;
        size_t i;

        for (i = 0; i < ARRAY_SIZE(types) && !str_eqc(type, types[i]); i++)
                ;
        if (i == ARRAY_SIZE(types) || str_empty(object))
                return error_set(err, -EINVAL, "couldn't parse a watch event");
        *ret_type = (enum api_event_type) i;
        *ret_object = NULL;
        if (i == API_ERROR) {
                wire_error(err, 500, object);
                return 0;
        }
        TRY(object_from_text(object, 0, &o, err));
        *ret_object = o;
        *ret_revision = object_revision(o);
        return 0;
}
