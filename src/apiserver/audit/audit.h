/* The audit log: who did what, as https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/ tells. Private to
 * src/apiserver.
 *
 *   track.c ─▶ event.c: what the policy (policy.c) wants of this request, as a line of JSON ─▶ log.c: a thread, a file
 *                                                                                            └▶ webhook.c: in batches
 */
#pragma once

#include "apiserver/handler.h"

/* ---- options.c ---- */

enum audit_mode {
        AUDIT_BATCH,    /* requests do not wait for their events */
        AUDIT_BLOCKING, /* they do, */
        AUDIT_STRICT,   /* and are refused when the first event is not taken */
};

/* How events get to a plugin, "log" or "webhook". */
struct audit_plugin {
        const char *name;
        enum audit_mode mode;
        int64_t buffer_size, max_size, max_wait_ms; /* events that wait, and go at once, in the mode batch */
        double qps, tokens;                         /* batches in a second; 0: without a limit */
        int64_t burst, refilled_ms;
        int64_t max_event, max_batch; /* bytes */
};
/* From --audit-<name>-*; *p has the defaults. -EINVAL: upstream's text of what is wrong. */
int audit_plugin_read(struct apiserver *s, const char *name, struct audit_plugin *p, struct error *err);
/* 0: a batch may go now; else in how many ms the next may. */
int64_t audit_take_token(struct audit_plugin *p);

struct audit_options {
        const char *policy_file;                         /* audit.k8s.io/v1 Policy, YAML */
        const char *log_path;                            /* "-": stdout; NULL: none */
        unsigned max_age_days, max_backups, max_size_mb; /* of rotated files: 0 no limit; of a file: 0 is 100 */
        bool compress;                                   /* rotated files, with gzip */
        struct audit_plugin log;
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
/* A line, with its end. Any thread. In the mode batch it never blocks: when too much waits for the disk the line is
 * dropped and counted. In the others it is written before this returns; false: it could not be. */
bool audit_log_write(struct audit_log *l, struct str line);

void audit_lost(const char *plugin, unsigned n); /* counts events that did not get where they should */

/* ---- webhook.c ---- */

struct audit_webhook;
/* As the server's flags have it; *ret is NULL when they want none. */
int audit_webhook_new(struct apiserver *s, struct audit_webhook **ret, struct error *err);
void audit_webhook_stop(struct audit_webhook *h); /* sends what waits, for at most two seconds; then nothing */
void audit_webhook_free(struct audit_webhook *h); /* after it was stopped, and webhooks_stop */
const struct audit_plugin *audit_webhook_plugin(const struct audit_webhook *h);
/* One event. Any thread; never blocks: what is too much is dropped and counted. */
void audit_webhook_write(struct audit_webhook *h, struct str event);

/* A request that waits for its event to be taken. On loop it is answered once, go is called unless it is NULL by then
 * (nobody waits any more), and it is freed. */
struct audit_wait {
        struct loop_work work;
        struct loop *loop;
        void (*go)(struct audit_wait *w);
        void *arg;
        bool taken;
        atomic_int *busy;
};
/* The same in the modes that block: the event goes at once, and alone. */
struct audit_wait *audit_webhook_send(struct audit_webhook *h, struct str event, struct loop *loop, void *arg);

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
/* The one event of a request that did not get this far, and why; when it was known who sends it, AUDIT_COMPLETE, and
 * that it starts where it would have gone on for long. */
void audit_failed(struct audit *a, struct exchange *x, const struct attributes *at, struct str id,
                  const struct error *why, enum audit_stage stage, bool starts);
/* The object that was sent, and the JSON text that is answered. */
void audit_request(struct audit_event *e, const struct json *body);
bool audit_wants_response(const struct audit_event *e, int code); /* e may be NULL */
/* What was emitted last is on its way to a webhook for which requests wait: go is called on the request's loop when it
 * is there, or given up. False: there is nothing to wait for. */
bool audit_waits(struct audit_event *e, void (*go)(void *arg), void *arg);
void audit_forget(struct audit_event *e); /* the request ends: go is not called any more */
/* In the mode blocking-strict: what was emitted was not taken. */
bool audit_refuses(const struct audit_event *e);
void audit_response(struct audit_event *e, const struct http_slice *body, size_t n);
void audit_annotate(struct audit_event *e, struct str key, struct str value);
void audit_emit(struct audit_event *e, enum audit_stage stage, int code);
