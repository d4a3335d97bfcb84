/* One event of the audit log: begun with the request, filled on its way, written at each stage as audit.k8s.io/v1
 * Event. */
#include <arpa/inet.h>

#include "apiserver/audit/audit.h"
#include "apiserver/auth/authn.h"
#include "apiserver/auth/remote.h"
#include "apiserver/extensions/crd_schema.h"
#include "apiserver/extensions/custom.h"
#include "apiserver/flags.h"
#include "apiserver/track.h"
#include "apiserver/validation/validate.h"
#include "base/file.h"
#include "base/metrics.h"
#include "schema/decode.h"
#include "schema/defaults.h"

METRIC(events_total, COUNTER, "apiserver_audit_event_total",
       "[ALPHA] Counter of audit events generated and sent to the audit backend.");

METRIC(rejected_total, COUNTER, "apiserver_audit_requests_rejected_total",
       "[ALPHA] Counter of apiserver requests rejected due to an error in audit logging backend.");

METRIC(level_total, COUNTER, "apiserver_audit_level_total",
       "[ALPHA] Counter of policy levels for audit events (1 per request).");

struct audit {
        struct apiserver *s;
        struct audit_policy *policy;
        struct audit_log *log;         /* or NULL, */
        struct audit_webhook *webhook; /* as this */
        struct audit_plugin log_plugin;
        bool legacy; /* the log's format */
};

struct audit_event {
        struct audit *audit;
        struct exchange *x;
        struct arena *a;
        struct audit_decision decision;
        struct attributes at;
        struct str id;
        int64_t received_ns;
        struct json sources, annotations, ref, request, status, response;
        struct audit_wait *wait; /* for the webhook; or NULL */
        void (*go)(void *arg);
        void *arg;
        bool refused, undecided; /* others are yet to be asked whether it may be */
};

int audit_new(struct apiserver *s, const struct audit_options *o, struct audit **ret, struct error *err) {
        _cleanup_buf_ struct buf text = BUF_INIT;
        struct audit *a = xcalloc(1, sizeof(*a));

        a->s = s;
        a->log_plugin = o->log;
        int r = file_read(o->policy_file, 1 << 20, &text, err);
        if (r < 0)
                error_prefix(err, "loading audit policy file: failed to read file path \"%s\"", o->policy_file);
        if (r == 0 && audit_policy_parse(buf_str(&text), &a->policy, err) < 0)
                r = error_set(err, -EINVAL, "loading audit policy file: %s: from file %s", error_text(err),
                              o->policy_file);
        if (r == 0 && o->log_path)
                r = audit_log_open(o, &a->log, err);
        if (r == 0)
                r = audit_webhook_new(s, &a->webhook, err);
        if (r < 0) {
                audit_free(a);
                return r;
        }
        *ret = a;
        return 0;
}

int audit_new_from_flags(struct apiserver *s, struct audit **ret, struct error *err) {
        struct audit_options o = { .policy_file = server_flag(s, "audit-policy-file", NULL),
                                   .log_path = server_flag(s, "audit-log-path", NULL),
                                   .log = { .mode = AUDIT_BLOCKING, .buffer_size = 10000, .max_size = 1 } };
        const char *format = server_flag(s, "audit-log-format", "json");
        const struct {
                const char *flag;
                unsigned *value;
        } numbers[] = { { "audit-log-maxage", &o.max_age_days },
                        { "audit-log-maxbackup", &o.max_backups },
                        { "audit-log-maxsize", &o.max_size_mb } };

        for (size_t i = 0; o.log_path && i < ARRAY_SIZE(numbers); i++) {
                const char *text = server_flag(s, numbers[i].flag, "0");
                int64_t n;

                if (str_to_i64(str_of(text), &n) < 0 || n > 1000000)
                        return error_set(err, -EINVAL, "--%s=%s: this is no number", numbers[i].flag, text);
                if (n < 0)
                        return error_set(err, -EINVAL, "--%s %s can't be a negative number", numbers[i].flag, text);
                *numbers[i].value = (unsigned) n;
        }
        *ret = NULL;
        if (o.log_path && strcmp(format, "json") != 0 && strcmp(format, "legacy") != 0)
                return error_set(err, -EINVAL, "invalid audit log format %s, allowed formats are \"legacy,json\"",
                                 format);
        o.compress = strcmp(server_flag(s, "audit-log-compress", "false"), "true") == 0;
        int r = audit_plugin_read(s, "log", &o.log, err);
        if (r < 0 || !o.policy_file)
                return r;
        r = audit_new(s, &o, ret, err);
        if (r < 0)
                return r;
        (*ret)->legacy = strcmp(format, "legacy") == 0;
        if (!o.log_path && !(*ret)->webhook) { /* nobody hears of it */
                audit_free(*ret);
                *ret = NULL;
        }
        return 0;
}

void audit_stop(struct audit *a) {
        if (a && a->webhook)
                audit_webhook_stop(a->webhook);
}

void audit_free(struct audit *a) {
        if (!a)
                return;
        audit_webhook_free(a->webhook);
        audit_log_close(a->log);
        audit_policy_free(a->policy);
        free(a);
}

/* ---- parts ---- */

static void set_text(struct arena *a, struct json *o, const char *key, struct str v) {
        if (!str_empty(v))
                json_set_str(a, o, key, v);
}

/* s as addresses are written; empty: it is none. */
static struct str address_of(struct arena *a, struct str s) {
        char text[INET6_ADDRSTRLEN];
        uint8_t ip[16];
        int family = parse_ip(s, ip);

        if (family == 0)
                return STR("");
        inet_ntop(family == 4 ? AF_INET : AF_INET6, ip, text, sizeof(text));
        return arena_str(a, str_of(text));
}

/* Who forwarded it, as far as that is told in addresses; the peer's own comes last, once. */
static struct json addresses_of(struct arena *a, struct http_request *req) {
        struct json list = json_new_array();
        struct str one, peer = http_request_peer(req);
        ssize_t colon = str_rfind(peer, ':');

        str_each(part, http_request_header(req, "x-forwarded-for"), ',') {
                one = address_of(a, str_trim(part));
                if (!str_empty(one))
                        json_push(a, &list, json_of_str(one));
        }
        one = address_of(a, http_request_header(req, "x-real-ip"));
        if (!str_empty(one) && !json_has_str(&list, one))
                json_push(a, &list, json_of_str(one));
        one = colon > 0 ? str_sub(peer, 0, (size_t) colon) : peer;
        if (json_len(&list) == 0 || !str_eq(json_str(json_item(&list, json_len(&list) - 1)), one))
                json_push(a, &list, json_of_str(one));
        return list;
}

static struct json time_of(struct arena *a, int64_t ns) {
        char text[36];

        return json_of_copy(a, time_format_micro(text, ns));
}

static void drop_managed_fields(struct json *object) {
        struct json *meta = json_get_mut(object, STR("metadata")), *items = json_get_mut(object, STR("items")),
                    *rows = json_get_mut(object, STR("rows")), *o;

        if (meta)
                json_removec(meta, "managedFields");
        json_each_item(i, items) {
                meta = json_get_mut(i, STR("metadata"));
                if (meta)
                        json_removec(meta, "managedFields");
        }
        json_each_item(r, rows) {
                o = json_get_mut(r, STR("object"));
                if (o)
                        drop_managed_fields(o);
        }
}

/* ---- the way of a request ---- */

/* NULL when the policy wants nothing of it. */
static struct audit_event *event_new(struct audit *audit, struct exchange *x, const struct attributes *at,
                                     struct str id) {
        const struct api_user *u = x->impersonated ? &x->real_user : &x->user;
        struct audit_decision d = audit_policy_decide(audit->policy, u, at);
        struct arena *a = http_request_arena(x->req);
        struct audit_event *e;

        series_add(SERIES(&level_total, { "level", str_of(audit_levels[d.level]) }), 1);
        if (d.level == AUDIT_NONE)
                return NULL;
        e = arena_new_of(a, struct audit_event);
        *e = (struct audit_event) {
                .audit = audit, .x = x, .a = a, .decision = d, .at = *at, .id = id, .received_ns = now_wall_ns()
        };
        e->annotations = e->ref = json_new_object();
        json_each_member(m, x->notes.annotations)
                audit_annotate(e, json_key(m), json_str(&m->value));
        e->sources = addresses_of(a, x->req);
        if (str_empty(at->path)) {
                set_text(a, &e->ref, "resource", at->resource);
                set_text(a, &e->ref, "namespace", at->namespace);
                set_text(a, &e->ref, "name", at->name);
                set_text(a, &e->ref, "apiGroup", at->group);
                set_text(a, &e->ref, "apiVersion", at->version);
                set_text(a, &e->ref, "subresource", at->subresource);
        }
        return e;
}

/* What authorizers have said to it, or will say; where others are to be asked first, once they have been. */
static void tell_decision(struct audit_event *e) {
        _cleanup_opinion_ struct opinion why = { .again = true };
        int64_t since = remote_since(track_asks_ns(e->x));
        enum authz decision = authorize_why(e->audit->s, &e->x->user, &e->at, &why);
        bool allowed = decision == AUTHZ_ALLOW;

        remote_since(since);
        e->undecided = decision == AUTHZ_PENDING;
        if (e->undecided)
                return;
        if (allowed || why.error.n == 0)
                audit_annotate(e, STR("authorization.k8s.io/decision"), allowed ? STR("allow") : STR("forbid"));
        audit_annotate(e, STR("authorization.k8s.io/reason"),
                       allowed || why.error.n == 0 ? buf_str(&why.reason) : STR("internal error"));
}

struct audit_event *audit_begin(struct audit *audit, struct exchange *x, const struct attributes *at, struct str id) {
        struct audit_event *e = event_new(audit, x, at, id);

        if (!e)
                return NULL;
        audit_emit(e, AUDIT_RECEIVED, 0);
        tell_decision(e);
        return e;
}

static void set_status(struct audit_event *e, const struct json *status) {
        static const char *const keys[] = { "status", "message", "reason", "details", "code" };

        e->status = json_new_object();
        json_setc(e->a, &e->status, "metadata", json_new_object());
        for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
                if (json_getc(status, keys[i]))
                        json_setc(e->a, &e->status, keys[i], *json_getc(status, keys[i]));
}

void audit_failed(struct audit *audit, struct exchange *x, const struct attributes *at, struct str id,
                  const struct error *why, enum audit_stage stage, bool starts) {
        struct audit_event *e = event_new(audit, x, at, id);
        struct json status;

        if (!e)
                return;
        if (stage == AUDIT_COMPLETE)
                audit_emit(e, AUDIT_RECEIVED, 0);
        status = status_of_error(e->a, why);
        if (!why->text)
                set_status(e, &status);
        if (!why->text && e->decision.level == AUDIT_REQUEST_RESPONSE)
                e->response = status;
        if (starts && stage == AUDIT_COMPLETE)
                audit_emit(e, AUDIT_STARTED, (int) json_int(json_getc(&status, "code")));
        audit_emit(e, stage, (int) json_int(json_getc(&status, "code")));
        audit_forget(e);
}

void audit_annotate(struct audit_event *e, struct str key, struct str value) {
        bool tells_content = str_has_prefix(key, STR("patch.webhook.admission.k8s.io/"));

        if (e && (!tells_content || e->decision.level >= AUDIT_REQUEST) && !json_get(&e->annotations, key))
                json_set(e->a, &e->annotations, arena_str(e->a, key), json_of_copy(e->a, value));
}

/* Custom objects are maps upstream, which are written in the order of their keys. */
static void sort_custom(const struct audit_event *e, struct json *doc) {
        const struct rest *r = e->x->rest;

        if (!r || !r->custom)
                return;
        if (json_type(doc) == JSON_OBJECT)
                json_sort(doc);
        json_each_item(i, doc)
                sort_custom(e, i);
        json_each_member(m, doc)
                sort_custom(e, &m->value);
}

/* The object as it was understood: of a kind, in the version of the request, with its defaults. What a patch says is as
 * it was sent. */
static struct json understood(const struct audit_event *e, const struct json *body) {
        const struct exchange *x = e->x;
        enum http_method m = http_request_method(x->req);
        struct json out = json_copy(e->a, body);

        if (!x->rest || !json_is(body, JSON_OBJECT) || m == HTTP_M_PATCH)
                return out;
        if (m == HTTP_M_DELETE) {
                struct json options = json_new_object();

                json_set_cstr(e->a, &options, "kind", "DeleteOptions");
                json_set_cstr(e->a, &options, "apiVersion", "meta.k8s.io/__internal");
                json_each_member(o, &out)
                        if (!json_get(&options, json_key(o)))
                                json_set(e->a, &options, json_key(o), o->value);
                return options;
        }
        struct sent as = sent_of(e->a, x->rest, api_subresource(x->rest->resource, x->info.subresource));
        if (as.custom) {
                if (crd_prune(e->a, x->rest->custom->schema, body, NULL, &out, NULL) == 0)
                        out = crd_complete(e->a, x->rest->custom->schema, &out);
                sort_custom(e, &out);
                return out;
        }
        if (!as.type || schema_decode(e->a, as.type, body, NULL, &out, NULL) < 0)
                return out;
        json_set_str(e->a, &out, "kind", as.kind);
        json_set_str(e->a, &out, "apiVersion", as.api_version);
        schema_default(e->a, as.type, &out);
        schema_reorder(e->a, as.type, &out);
        return out;
}

void audit_request(struct audit_event *e, const struct json *body) {
        const struct json *meta = json_getc(body, "metadata");
        static const char *const keys[] = { "name", "namespace", "uid", "resourceVersion" };

        if (!e)
                return;
        for (size_t i = 0; i < ARRAY_SIZE(keys) && http_request_method(e->x->req) != HTTP_M_PATCH; i++) {
                struct str v = json_str(json_getc(meta, keys[i]));

                if (!str_empty(v) && !json_getc(&e->ref, keys[i]))
                        json_setc(e->a, &e->ref, keys[i], json_of_copy(e->a, v));
        }
        if (e->decision.level < AUDIT_REQUEST)
                return;
        e->request = understood(e, body);
        if (e->decision.omit_managed_fields)
                drop_managed_fields(&e->request);
}

void audit_response(struct audit_event *e, const struct http_slice *body, size_t n) {
        struct json_parse_opts opts = { .copy_strings = true };
        _cleanup_buf_ struct buf text = BUF_INIT;
        struct json *doc;

        for (size_t i = 0; i < n; i++)
                buf_add_str(&text, body[i].data);
        if (json_parse(e->a, buf_str(&text), &opts, &doc, NULL) < 0)
                return;
        if (str_eqc(json_str(json_getc(doc, "kind")), "Status"))
                set_status(e, doc);
        if (e->decision.level < AUDIT_REQUEST_RESPONSE)
                return;
        if (e->decision.omit_managed_fields)
                drop_managed_fields(doc);
        if (e->x->rest && str_eq(json_str(json_getc(doc, "apiVersion")), e->x->rest->api_version))
                sort_custom(e, doc);
        e->response = *doc;
}

/* The request's body and answer are read only where they are asked for: an answer that is no error may be large. */
bool audit_wants_response(const struct audit_event *e, int code) {
        return e && (e->decision.level == AUDIT_REQUEST_RESPONSE || code >= 400);
}

/* ---- where it goes ---- */

static struct str user_agent(struct arena *a, struct http_request *req) {
        struct str s = http_request_header(req, "user-agent");

        return s.n <= 1024 ? s : arena_printf(a, "%.1024s...TRUNCATED", s.p);
}

static struct json event_json(struct audit_event *e, enum audit_stage stage, int code, bool truncated) {
        static const char *const ref_keys[] = { "resource",   "namespace",       "name",       "uid", "apiGroup",
                                                "apiVersion", "resourceVersion", "subresource" };
        struct json o = json_new_object(), ref = json_new_object();
        struct arena *a = e->a;
        struct http_request *req = e->x->req;

        json_set_cstr(a, &o, "kind", "Event");
        json_set_cstr(a, &o, "apiVersion", "audit.k8s.io/v1");
        json_set_cstr(a, &o, "level", audit_levels[e->decision.level]);
        json_set_str(a, &o, "auditID", e->id);
        json_set_cstr(a, &o, "stage", audit_stages[stage]);
        json_set_str(a, &o, "requestURI", http_request_uri(req));
        json_set_cstr(a, &o, "verb", e->at.verb);
        json_setc(a, &o, "user", user_json(a, e->x->impersonated ? &e->x->real_user : &e->x->user));
        if (e->x->impersonated && stage != AUDIT_RECEIVED)
                json_setc(a, &o, "impersonatedUser", user_json(a, &e->x->user));
        json_setc(a, &o, "sourceIPs", e->sources);
        set_text(a, &o, "userAgent", user_agent(a, req));
        for (size_t i = 0; i < ARRAY_SIZE(ref_keys); i++)
                if (json_getc(&e->ref, ref_keys[i]))
                        json_setc(a, &ref, ref_keys[i], *json_getc(&e->ref, ref_keys[i]));
        if (json_len(&ref) > 0)
                json_setc(a, &o, "objectRef", ref);
        if (code > 0) {
                json_set_int(a, &e->status, "code", code);
                json_setc(a, &o, "responseStatus", e->status);
        }
        if (e->request.type != JSON_NULL && !truncated)
                json_setc(a, &o, "requestObject", e->request);
        if (e->response.type != JSON_NULL && !truncated)
                json_setc(a, &o, "responseObject", e->response);
        json_setc(a, &o, "requestReceivedTimestamp", time_of(a, e->received_ns));
        json_setc(a, &o, "stageTimestamp", time_of(a, stage == AUDIT_RECEIVED ? e->received_ns : now_wall_ns()));
        json_sort(&e->annotations);
        if (json_len(&e->annotations) > 0)
                json_setc(a, &o, "annotations", e->annotations);
        return o;
}

static void quote(struct buf *b, struct str s) {
        buf_putc(b, '"');
        for (size_t i = 0; i < s.n; i++)
                if (s.p[i] == '"' || s.p[i] == '\\')
                        buf_printf(b, "\\%c", s.p[i]);
                else if ((unsigned char) s.p[i] < 0x20 || s.p[i] == 0x7f)
                        buf_printf(b, "\\x%02x", (unsigned) s.p[i]);
                else
                        buf_putc(b, s.p[i]);
        buf_putc(b, '"');
}

static struct str groups_text(struct arena *a, const struct api_user *u, const char *none) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        for (size_t i = 0; i < u->n_groups; i++) {
                buf_addc(&b, i ? "," : "");
                quote(&b, u->groups[i]);
        }
        return u->n_groups ? arena_str(a, buf_str(&b)) : str_of(none);
}

/* The format "legacy": a line of text. */
static void write_legacy(struct buf *b, const struct audit_event *e, enum audit_stage stage, int code) {
        const struct exchange *x = e->x;
        const struct api_user *u = x->impersonated ? &x->real_user : &x->user,
                              *as = x->impersonated && stage != AUDIT_RECEIVED ? &x->user : NULL;
        struct str none = STR("<none>");
        const struct {
                const char *name;
                struct str value;
        } parts[] = {
                { "id", e->id },
                { "stage", str_of(audit_stages[stage]) },
                { "ip", json_len(&e->sources) ? json_str(json_item(&e->sources, 0)) : STR("<unknown>") },
                { "method", str_of(e->at.verb) },
                { "user", str_empty(u->name) ? none : u->name },
                { "groups", str_empty(u->name) ? none : groups_text(e->a, u, "<none>") },
                { "as", as ? as->name : STR("<self>") },
                { "asgroups", as ? groups_text(e->a, as, "<lookup>") : STR("<lookup>") },
                { "user-agent", user_agent(e->a, x->req) },
                { "namespace", str_empty(e->at.namespace) ? none : e->at.namespace },
                { "uri", http_request_uri(x->req) },
        };
        char when[36];

        buf_add_str(b, time_format_micro(when, e->received_ns));
        buf_addc(b, " AUDIT:");
        for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
                buf_printf(b, " %s=", parts[i].name);
                quote(b, parts[i].value);
        }
        if (code > 0)
                buf_printf(b, " response=\"%d\"", code);
        else
                buf_addc(b, " response=\"<deferred>\"");
}

/* The event as a plugin gets it: what is too large loses its objects first (own has the text then). False: it is still
 * too large. */
static bool fit(struct audit_event *e, const struct audit_plugin *p, enum audit_stage stage, int code, struct str full,
                struct buf *own, struct str *ret) {
        *ret = full;
        if ((int64_t) full.n > p->max_event && e->decision.level >= AUDIT_REQUEST) {
                audit_annotate(e, STR("audit.k8s.io/truncated"), STR("true"));
                struct json o = event_json(e, stage, code, true);
                json_write(own, &o);
                *ret = buf_str(own);
        }
        if ((int64_t) ret->n <= p->max_event)
                return true;
        audit_lost("truncate", 1);
        return false;
}

static void taken(struct audit_wait *w) {
        struct audit_event *e = w->arg;

        e->wait = NULL;
        e->refused |= !w->taken && audit_webhook_plugin(e->audit->webhook)->mode == AUDIT_STRICT;
        if (e->go)
                e->go(e->arg);
}

static void to_webhook(struct audit_event *e, struct str event) {
        struct audit_webhook *h = e->audit->webhook;

        if (audit_webhook_plugin(h)->mode == AUDIT_BATCH)
                return audit_webhook_write(h, event);
        audit_forget(e); /* what was emitted before is not waited for any more */
        e->wait = audit_webhook_send(h, event, http_request_loop(e->x->req), e);
        e->wait->go = taken;
}

static void to_log(struct audit_event *e, enum audit_stage stage, int code, struct str event) {
        const struct audit *audit = e->audit;
        _cleanup_buf_ struct buf line = BUF_INIT;

        if (audit->legacy)
                write_legacy(&line, e, stage, code);
        else
                buf_add_str(&line, event);
        buf_putc(&line, '\n');
        e->refused |= !audit_log_write(audit->log, buf_str(&line)) && audit->log_plugin.mode == AUDIT_STRICT;
}

void audit_emit(struct audit_event *e, enum audit_stage stage, int code) {
        const struct audit *audit = e->audit;
        _cleanup_buf_ struct buf full = BUF_INIT, for_webhook = BUF_INIT, for_log = BUF_INIT;
        struct str text;

        if (e->undecided)
                tell_decision(e);
        if (e->decision.omit_stages & 1U << stage)
                return;
        if (code > 0 && e->status.type != JSON_OBJECT) {
                e->status = json_new_object();
                json_setc(e->a, &e->status, "metadata", json_new_object());
        }
        struct json o = event_json(e, stage, code, false);
        json_write(&full, &o);
        if (audit->webhook &&
            fit(e, audit_webhook_plugin(audit->webhook), stage, code, buf_str(&full), &for_webhook, &text))
                to_webhook(e, text);
        if (audit->log && fit(e, &audit->log_plugin, stage, code, buf_str(&full), &for_log, &text))
                to_log(e, stage, code, text);
        metric_add(&events_total, 1);
}

bool audit_waits(struct audit_event *e, void (*go)(void *arg), void *arg) {
        e->go = go;
        e->arg = arg;
        return e->wait != NULL;
}

void audit_forget(struct audit_event *e) {
        if (e->wait)
                e->wait->go = NULL;
        e->wait = NULL;
}

bool audit_refuses(const struct audit_event *e) {
        if (e->refused)
                metric_add(&rejected_total, 1);
        return e->refused;
}
