/* The audit log: who did what, as https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/ tells. Private to
 * src/apiserver.
 *
 *   track.c ─▶ event.c: what the policy (policy.c) wants of this request, as a line of JSON ─▶ log.c: a thread, a file
 *                                                                                            └▶ webhook.c: in batches
 */
#pragma once

#include "apiserver/handler.h"

struct audit_options {
        const char *policy_file; /* audit.k8s.io/v1 Policy, YAML */
        const char *log_path;    /* "-": stdout; NULL: none */
        unsigned max_age_days, max_backups, max_size_mb; /* of rotated files: 0 no limit; of a file: 0 is 100 */
};

/* ---- policy.c ---- */

enum audit_level { AUDIT_NONE, AUDIT_METADATA, AUDIT_REQUEST, AUDIT_REQUEST_RESPONSE };
enum audit_stage { AUDIT_RECEIVED, AUDIT_STARTED, AUDIT_COMPLETE, AUDIT_PANIC };
extern const char *const audit_levels[], *const audit_stages[];

struct audit_decision {
        enum audit_level level;
        unsigned omit_stages; /* a bit for each */
        bool omit_managed_fields;
};
struct audit_policy;
/* -EINVAL: the text says what is wrong with the policy. */
int audit_policy_parse(struct str text, struct audit_policy **ret, struct error *err);
void audit_policy_free(struct audit_policy *p);
struct audit_decision audit_policy_decide(const struct audit_policy *p, const struct api_user *u,
                                          const struct attributes *at);

/* ---- log.c ---- */

struct audit_log;
int audit_log_open(const struct audit_options *o, struct audit_log **ret, struct error *err);
void audit_log_close(struct audit_log *l); /* writes what waits */
/* A line, with its end. Any thread; never blocks: when 16 MiB wait for the disk the line is dropped and counted. */
void audit_log_write(struct audit_log *l, struct str line);

void audit_lost(const char *plugin, unsigned n); /* counts events that did not get where they should */

/* ---- webhook.c ---- */

struct audit_webhook;
/* As the server's flags have it; *ret is NULL when they want none. */
int audit_webhook_new(struct apiserver *s, struct audit_webhook **ret, struct error *err);
void audit_webhook_stop(struct audit_webhook *h); /* sends what waits, for at most two seconds; then nothing */
void audit_webhook_free(struct audit_webhook *h); /* after it was stopped, and webhooks_stop */
/* One event. Any thread; never blocks: what is too much is dropped and counted. */
void audit_webhook_write(struct audit_webhook *h, struct str event);

/* ---- event.c ---- */

struct audit;
int audit_new(struct apiserver *s, const struct audit_options *o, struct audit **ret, struct error *err);
/* The same as the server's flags have it; *ret is NULL when they want no log. */
int audit_new_from_flags(struct apiserver *s, struct audit **ret, struct error *err);
void audit_stop(struct audit *a); /* NULL is fine, as for audit_free */
void audit_free(struct audit *a);

struct audit_event;
/* NULL when the policy wants nothing of this request. The event lives in the request's arena. */
struct audit_event *audit_begin(struct audit *a, struct exchange *x, const struct attributes *at, struct str id);
void audit_unauthenticated(struct audit *a, struct exchange *x, const struct attributes *at, struct str id);
/* The object that was sent, and the JSON text that is answered. */
void audit_request(struct audit_event *e, const struct json *body);
bool audit_wants_response(const struct audit_event *e, int code); /* e may be NULL */
void audit_response(struct audit_event *e, const struct http_slice *body, size_t n);
void audit_annotate(struct audit_event *e, struct str key, struct str value);
void audit_emit(struct audit_event *e, enum audit_stage stage, int code);
