/* One event of the audit log: begun with the request, filled on its way, written at each stage as audit.k8s.io/v1
 * Event. */
#include <errno.h>

#include "apiserver/audit/audit.h"
#include "apiserver/flags.h"
#include "base/file.h"
#include "base/metrics.h"

static const struct metric events_total = { "apiserver_audit_event_total",
                                            "Counter of audit events generated and sent to the audit backend.",
                                            METRIC_COUNTER, NULL, 0 };

static const struct metric level_total = { "apiserver_audit_level_total",
                                           "Counter of policy levels for audit events (1 per request).",
                                           METRIC_COUNTER, NULL, 0 };

static void level_label(struct buf *dst, const void *arg) {
        metric_label(dst, "level", str_of(arg));
}

struct audit {
        struct apiserver *s;
        struct audit_policy *policy;
        struct audit_log *log;         /* or NULL, */
        struct audit_webhook *webhook; /* as this */
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
};

int audit_new(struct apiserver *s, const struct audit_options *o, struct audit **ret, struct error *err) {
        _cleanup_buf_ struct buf text = BUF_INIT;
        struct audit *a = xcalloc(1, sizeof(*a));
        int r;

        a->s = s;
        r = file_read(o->policy_file, 1 << 20, &text, err);
        if (r == 0)
                r = audit_policy_parse(buf_str(&text), &a->policy, err);
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
                                   .log_path = server_flag(s, "audit-log-path", NULL) };
        const struct {
                const char *flag;
                unsigned *value;
        } numbers[] = { { "audit-log-maxage", &o.max_age_days },
                        { "audit-log-maxbackup", &o.max_backups },
                        { "audit-log-maxsize", &o.max_size_mb } };

        for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
                const char *text = server_flag(s, numbers[i].flag, "0");
                uint64_t n;

                if (str_to_u64(str_of(text), &n) < 0 || n > 1000000)
                        return error_set(err, -EINVAL, "--%s=%s: this is no number", numbers[i].flag, text);
                *numbers[i].value = (unsigned) n;
        }
        *ret = NULL;
        return o.policy_file && (o.log_path || server_flag(s, "audit-webhook-config-file", NULL))
                               ? audit_new(s, &o, ret, err)
                               : 0;
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

static struct json user_of(struct arena *a, const struct api_user *u) {
        struct json o = json_new_object(), *groups;

        set_text(a, &o, "username", u->name);
        set_text(a, &o, "uid", u->uid);
        groups = json_get_or_add_array(a, &o, "groups");
        for (size_t i = 0; i < u->n_groups; i++)
                json_push(a, groups, json_of_str(u->groups[i]));
        if (u->extra)
                json_setc(a, &o, "extra", *u->extra);
        return o;
}

static struct json addresses_of(struct arena *a, struct http_request *req) {
        struct json list = json_new_array();
        struct str forwarded = http_request_header(req, "x-forwarded-for"), one, peer = http_request_peer(req);
        ssize_t colon = str_rfind(peer, ':');

        for (int i = 0; i < 16 && str_split(&forwarded, ',', &one); i++)
                json_push(a, &list, json_of_str(str_trim(one)));
        one = http_request_header(req, "x-real-ip");
        if (!str_empty(one))
                json_push(a, &list, json_of_str(one));
        json_push(a, &list, json_of_str(colon > 0 ? str_sub(peer, 0, (size_t) colon) : peer));
        return list;
}

static struct json time_of(struct arena *a, int64_t ns) {
        char text[36];

        return json_of_copy(a, time_format_micro(text, ns));
}

static void drop_managed_fields(struct json *object) {
        struct json *meta = json_get_mut(object, STR("metadata")), *items = json_get_mut(object, STR("items"));

        if (meta)
                json_removec(meta, "managedFields");
        json_each_item(i, items) {
                meta = json_get_mut(i, STR("metadata"));
                if (meta)
                        json_removec(meta, "managedFields");
        }
}

/* ---- the way of a request ---- */

/* NULL when the policy wants nothing of it. */
static struct audit_event *event_new(struct audit *audit, struct exchange *x, const struct attributes *at,
                                     struct str id) {
        struct audit_decision d = audit_policy_decide(audit->policy, &x->user, at);
        struct arena *a = http_request_arena(x->req);
        struct audit_event *e;

        series_add(metric_series(&level_total, d.level, level_label, audit_levels[d.level]), 1);
        if (d.level == AUDIT_NONE)
                return NULL;
        e = arena_new_of(a, struct audit_event);
        *e = (struct audit_event){ .audit = audit, .x = x, .a = a, .decision = d, .at = *at, .id = id,
                                   .received_ns = now_wall_ns() };
        e->annotations = e->ref = json_new_object();
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

struct audit_event *audit_begin(struct audit *audit, struct exchange *x, const struct attributes *at, struct str id) {
        struct audit_event *e = event_new(audit, x, at, id);
        _cleanup_buf_ struct buf reason = BUF_INIT;
        bool allowed;

        if (!e)
                return NULL;
        audit_emit(e, AUDIT_RECEIVED, 0);
        allowed = authorize_why(audit->s, &x->user, at, &reason) == AUTHZ_ALLOW;
        audit_annotate(e, STR("authorization.k8s.io/decision"), allowed ? STR("allow") : STR("forbid"));
        audit_annotate(e, STR("authorization.k8s.io/reason"), buf_str(&reason));
        return e;
}

/* As upstream's: one event, whose message tells what was tried. */
void audit_unauthenticated(struct audit *audit, struct exchange *x, const struct attributes *at, struct str id) {
        struct audit_event *e = event_new(audit, x, at, id);
        bool bearer = http_request_header(x->req, "authorization").n > 0,
             x509 = http_request_client_cert_invalid(x->req);

        if (!e)
                return;
        e->status = json_new_object();
        json_setc(e->a, &e->status, "metadata", json_new_object());
        json_setc(e->a, &e->status, "message",
                  json_of_printf(e->a, "Authentication failed, %s%s%s%s",
                                 bearer || x509 ? "attempted: " : "no credentials provided", bearer ? "bearer" : "",
                                 bearer && x509 ? ", " : "", x509 ? "x509" : ""));
        audit_emit(e, AUDIT_STARTED, 401);
}

void audit_annotate(struct audit_event *e, struct str key, struct str value) {
        if (e)
                json_set(e->a, &e->annotations, arena_str(e->a, key), json_of_copy(e->a, value));
}

void audit_request(struct audit_event *e, const struct json *body) {
        const struct json *meta = json_getc(body, "metadata");
        static const char *const keys[] = { "name", "namespace", "uid", "resourceVersion" };

        if (!e)
                return;
        for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
                struct str v = json_str(json_getc(meta, keys[i]));

                if (!str_empty(v) && !json_getc(&e->ref, keys[i]))
                        json_setc(e->a, &e->ref, keys[i], json_of_copy(e->a, v));
        }
        if (e->decision.level < AUDIT_REQUEST)
                return;
        e->request = json_copy(e->a, body);
        if (e->decision.omit_managed_fields)
                drop_managed_fields(&e->request);
}

void audit_response(struct audit_event *e, const struct http_slice *body, size_t n) {
        static const char *const keys[] = { "status", "message", "reason", "details", "code" };
        struct json_parse_opts opts = { .copy_strings = true };
        _cleanup_buf_ struct buf text = BUF_INIT;
        struct json *doc;

        for (size_t i = 0; i < n; i++)
                buf_add_str(&text, body[i].data);
        if (json_parse(e->a, buf_str(&text), &opts, &doc, NULL) < 0)
                return;
        if (str_eqc(json_str(json_getc(doc, "kind")), "Status")) {
                e->status = json_new_object();
                json_setc(e->a, &e->status, "metadata", json_new_object());
                for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
                        if (json_getc(doc, keys[i]))
                                json_setc(e->a, &e->status, keys[i], *json_getc(doc, keys[i]));
        }
        if (e->decision.level < AUDIT_REQUEST_RESPONSE)
                return;
        if (e->decision.omit_managed_fields)
                drop_managed_fields(doc);
        e->response = *doc;
}

/* The request's body and answer are read only where they are asked for: an answer that is no error may be large. */
bool audit_wants_response(const struct audit_event *e, int code) {
        return e && (e->decision.level == AUDIT_REQUEST_RESPONSE || code >= 400);
}

void audit_emit(struct audit_event *e, enum audit_stage stage, int code) {
        struct json o = json_new_object();
        struct arena *a = e->a;
        struct http_request *req = e->x->req;
        struct str path = http_request_path(req), query = http_request_query(req);
        _cleanup_buf_ struct buf b = BUF_INIT;

        if (e->decision.omit_stages & 1U << stage)
                return;
        json_set_cstr(a, &o, "kind", "Event");
        json_set_cstr(a, &o, "apiVersion", "audit.k8s.io/v1");
        json_set_cstr(a, &o, "level", audit_levels[e->decision.level]);
        json_set_str(a, &o, "auditID", e->id);
        json_set_cstr(a, &o, "stage", audit_stages[stage]);
        json_setc(a, &o, "requestURI",
                  json_of_printf(a, "%" STR_FMT "%s%" STR_FMT, STR_ARG(path), query.n ? "?" : "", STR_ARG(query)));
        json_set_cstr(a, &o, "verb", e->at.verb);
        json_setc(a, &o, "user", user_of(a, e->x->impersonated ? &e->x->real_user : &e->x->user));
        if (e->x->impersonated)
                json_setc(a, &o, "impersonatedUser", user_of(a, &e->x->user));
        json_setc(a, &o, "sourceIPs", e->sources);
        set_text(a, &o, "userAgent", http_request_header(req, "user-agent"));
        if (json_len(&e->ref) > 0)
                json_setc(a, &o, "objectRef", e->ref);
        if (code > 0 && e->status.type != JSON_OBJECT) {
                e->status = json_new_object();
                json_setc(a, &e->status, "metadata", json_new_object());
        }
        if (code > 0) {
                json_set_int(a, &e->status, "code", code);
                json_setc(a, &o, "responseStatus", e->status);
        }
        if (e->request.type != JSON_NULL)
                json_setc(a, &o, "requestObject", e->request);
        if (e->response.type != JSON_NULL)
                json_setc(a, &o, "responseObject", e->response);
        json_setc(a, &o, "requestReceivedTimestamp", time_of(a, e->received_ns));
        json_setc(a, &o, "stageTimestamp", time_of(a, now_wall_ns()));
        if (json_len(&e->annotations) > 0)
                json_setc(a, &o, "annotations", e->annotations);
        json_write(&b, &o);
        if (e->audit->webhook)
                audit_webhook_write(e->audit->webhook, buf_str(&b));
        buf_putc(&b, '\n');
        if (e->audit->log)
                audit_log_write(e->audit->log, buf_str(&b));
        metric_add(&events_total, 1);
}
