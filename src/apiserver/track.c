/*   track_begin ─▶ authenticate ─▶ track_enter ─▶ flow/ ─▶ proceed ─▶ answered ─▶ ended
 *                                      └─ waits: 429 after a quarter of its time; runs: 504 after all of it
 *
 * Everything here happens on the request's worker. Only a request that is not answered at once is put in the worker's
 * list, by which one timer finds those that are late. */
#include <unistd.h>

#include "apiserver/audit/audit.h"
#include "apiserver/auth/remote.h"
#include "apiserver/cors.h"
#include "apiserver/flags.h"
#include "apiserver/track_internal.h"
#include "apiserver/watch.h"
#include "base/rand.h"

#define MAX_WORKERS 256
#define TICK_MS 1000
#define FRESH_MS 3000 /* how long a read waits for the revision that it names */
#define FRESH_LOOK_MS 50
#define SMALL (64 * 1024) /* an answer up to here is done when it is made; a larger one when it is sent */

struct pending {
        struct list requests;
        struct timer timer;
        struct loop *loop;
        int64_t timer_at;
};

struct tracks {
        struct apiserver *s;
        struct pending *workers[MAX_WORKERS]; /* each its worker's */
        int64_t timeout_ms;                   /* --request-timeout */
        double goaway;                        /* --goaway-chance */
        struct str hsts;                      /* --strict-transport-security-directives as a header, or empty */
        atomic_bool stopping;
};

/* ---- those that are not answered at once ---- */

static void plain_error(struct http_request *req, int status, unsigned retry_after, struct str text) {
        struct http_header h[] = {
                { STR("cache-control"), STR("no-cache, private") },
                { STR("content-type"), STR("text/plain; charset=utf-8") },
                { STR("x-content-type-options"), STR("nosniff") },
                { STR("retry-after"), arena_printf(http_request_arena(req), "%u", retry_after) },
        };
        struct http_slice body = { .data = text };

        http_respond(req, status, h, ARRAY_SIZE(h) - (retry_after == 0), &body, 1);
}

static void too_many(struct track *t, unsigned retry_after) {
        track_count_termination(t, 429);
        plain_error(t->req, 429, retry_after, STR("Too many requests, please try again later.\n"));
}

/* Upstream's has no content type and no kind, so that clients find words of their own. */
static void timed_out(struct track *t) {
        if (!http_request_take_over(t->req))
                return;
        track_count_termination(t, 504);
        plain_error(t->req, 504, 0,
                    STR("{\"metadata\":{},\"status\":\"Failure\",\"message\":\"Timeout: request did not complete "
                        "within "
                        "the allotted timeout\",\"reason\":\"Timeout\",\"details\":{},\"code\":504}\n"));
}

/* The request does not wait in its queue any more. */
static void give_up(struct track *t) {
        track_count_queued(t, -1);
        flow_release(&t->ticket);
}

static void tick(struct timer *timer);

static void arm(struct pending *p, int64_t at) {
        int64_t now = now_mono_ms();

        at = MIN(at, now + TICK_MS);
        if (p->timer_at && p->timer_at <= at)
                return;
        p->timer_at = at;
        timer_start(p->loop, &p->timer, at > now ? (uint64_t) (at - now) : 1, tick);
}

static int64_t late_at(const struct track *t) {
        return t->revision ? t->look_ms : t->ticket.waiter ? t->wait_late_ms : t->late_ms;
}

static void run(struct track *t);

/* Another look at the store's revision. False: later again. */
static bool is_fresh(struct track *t, int64_t now) {
        if (store_revision(t->x->s->store) < t->revision && now < t->fresh_late_ms) {
                t->look_ms = now + FRESH_LOOK_MS;
                return false;
        }
        t->revision = 0;
        return true;
}

static void tick(struct timer *timer) {
        struct pending *p = container_of(timer, struct pending, timer);
        int64_t now = now_mono_ms(), next = INT64_MAX;

        p->timer_at = 0;
        list_each_safe(struct track, t, &p->requests, link) {
                bool aside = t->revision && t->look_ms <= now;

                if ((aside && !is_fresh(t, now)) || (!aside && late_at(t) > now)) {
                        next = MIN(next, late_at(t));
                        continue;
                }
                list_del(&t->link);
                if (aside) {
                        http_request_on_close(t->req, NULL, NULL);
                        run(t);
                } else if (t->ticket.waiter) {
                        http_request_on_close(t->req, NULL, NULL);
                        give_up(t);
                        too_many(t, flow_count_rejected(&t->ticket, "time-out"));
                } else {
                        timed_out(t);
                }
        }
        if (next < INT64_MAX)
                arm(p, next);
}

static void wait_for_answer(struct track *t) {
        struct tracks *all = t->x->s->tracks;
        size_t i = http_request_worker(t->req);
        struct pending *p = all->workers[i];

        if (atomic_load_explicit(&all->stopping, memory_order_relaxed))
                return;
        if (!p) {
                p = all->workers[i] = xcalloc(1, sizeof(*p));
                list_init(&p->requests);
                p->loop = http_request_loop(t->req);
        }
        list_push(&p->requests, &t->link);
        arm(p, late_at(t));
}

/* ---- the answer ---- */

static void logged(void *arg) {
        struct track *t = arg;

        http_request_release(t->req);
}

static bool answered(struct http_request *req, int status, int64_t bytes, void *arg) {
        struct track *t = arg;
        const struct flow_schema *f = t->ticket.schema;
        size_t n = 1;

        t->answered = true;
        t->status = status;
        t->bytes = bytes;
        if (f) {
                t->headers[n++] = f->headers[0];
                t->headers[n++] = f->headers[1];
        }
        if (t->x->s->tracks->hsts.n)
                t->headers[n++] = (struct http_header) { STR("strict-transport-security"), t->x->s->tracks->hsts };
        if (t->n_warnings || t->x->s->cors) {
                struct http_header *all = arena_array(http_request_arena(req), struct http_header,
                                                      n + t->n_warnings + CORS_HEADERS);

                memcpy(all, t->headers, n * sizeof(*all));
                for (size_t i = 0; i < t->n_warnings; i++)
                        all[n++] = t->warnings[i];
                if (t->x->s->cors)
                        n += cors_headers(t->x->s->cors, req, all + n);
                http_request_add_headers(req, all, n);
        } else {
                http_request_add_headers(req, t->headers, n);
        }
        if (!t->known)
                return false;
        if (t->audit)
                audit_emit(t->audit, t->long_running ? AUDIT_STARTED : AUDIT_COMPLETE, status);
        if (!t->long_running)
                track_count_done(t);
        if (t->is_watch || (bytes >= 0 && bytes <= SMALL))
                flow_release(&t->ticket);
        return bytes >= 0 && t->audit && audit_waits(t->audit, logged, t);
}

static void ended(struct http_request *req, void *arg) {
        struct track *t = arg;

        list_del(&t->link);
        if (!t->known)
                return; /* and no x->rest either */
        if (t->status == 0 && !t->long_running)
                track_count_abort(t);
        if (t->status == 0)
                t->status = t->long_running ? 101 : 499; /* handed over; gone before an answer */
        if (t->long_running || !t->answered) {
                track_count_done(t);
                if (t->audit && t->long_running && !t->answered) /* the connection was handed over */
                        audit_emit(t->audit, AUDIT_STARTED, t->status);
                if (t->audit)
                        audit_emit(t->audit, AUDIT_COMPLETE, t->status);
        }
        if (t->audit)
                audit_forget(t->audit);
        track_count_running(t, -1);
        flow_leave(&t->ticket);
        rest_release(t->x->rest);
}

static const struct http_observer observer = { .answered = answered, .ended = ended };

/* ---- the way in ---- */

/* The client's, when it gives one that can be told on. */
static struct str audit_id(struct track *t) {
        struct str given = http_request_header(t->req, "audit-id");
        size_t n = given.n;

        if (n == 0 || n >= sizeof(t->id)) {
                rand_uuid(t->id);
                return str_n(t->id, 36);
        }
        memcpy(t->id, given.p, n);
        return str_n(t->id, n);
}

struct str track_id(const struct exchange *x) {
        return x->track->headers[0].value;
}

struct exchange *track_begin(struct apiserver *s, struct http_request *req) {
        struct arena *a = http_request_arena(req);
        struct exchange *x = arena_new_of(a, struct exchange);
        struct track *t = arena_new_of(a, struct track);
        const struct track *before = http_request_userdata(req); /* it waited to know who it is */

        x->s = s;
        x->req = req;
        x->track = t;
        t->x = x;
        t->req = req;
        t->started_ns = t->asks_ns = before ? before->started_ns : now_mono_ns();
        t->ticket.since_ns = t->started_ns;
        t->bytes = -1;
        list_init(&t->link);
        t->headers[0] = (struct http_header) { STR("audit-id"), audit_id(t) };
        http_request_observe(req, &observer, t);
        http_request_set_userdata(req, t);
        if (s->tracks->goaway > 0 && http_request_is_h2(req) && (double) rand_below(1000000) < s->tracks->goaway * 1e6)
                http_request_last(req);
        return x;
}

int64_t track_asks_ns(const struct exchange *x) {
        return x->track->asks_ns;
}

bool track_preflight(struct exchange *x) {
        struct http_header h[CORS_HEADERS];

        if (!x->s->cors || http_request_method(x->req) != HTTP_M_OPTIONS || cors_headers(x->s->cors, x->req, h) == 0)
                return false;
        http_respond(x->req, 204, (struct http_header[]) { { STR("cache-control"), STR("no-cache, private") } }, 1,
                     NULL, 0);
        return true;
}

bool track_too_late(struct exchange *x) {
        static const char *const exempt[] = { "/readyz", "/livez", "/healthz", "/metrics" };
        struct str path = http_request_path(x->req);

        if (!atomic_load_explicit(&x->s->refusing, memory_order_relaxed))
                return false;
        for (size_t i = 0; i < ARRAY_SIZE(exempt); i++)
                if (str_has_prefix(path, str_of(exempt[i])))
                        return false;
        http_request_last(x->req);
        plain_error(x->req, 429, 5, STR("The apiserver is shutting down, please try again later.\n"));
        return true;
}

static void client_gone(struct http_request *req, void *arg) {
        give_up(arg);
}

static void run(struct track *t) {
        bool watched = !t->long_running; /* of the others t may be gone when proceed returns */

        remote_since(t->asks_ns);
        t->proceed(t->x);
        remote_since(0);
        if (watched && !t->answered && list_empty(&t->link))
                wait_for_answer(t);
}

static void admitted(struct track *t) {
        filter_passed(FILTER_FLOW, t->elsewhere_ns);
        run(t);
}

static void turn_came(void *arg) {
        struct track *t = arg;

        track_count_queued(t, -1);
        t->elsewhere_ns = flow_arrived(&t->ticket);
        t->asks_ns = now_mono_ns();
        http_request_on_close(t->req, NULL, NULL);
        list_del(&t->link);
        admitted(t);
}

static void left(struct http_request *req, void *arg) {
}

bool track_wait_revision(struct exchange *x, uint64_t revision) {
        struct track *t = x->track;
        int64_t now = now_mono_ms();

        if (t->fresh_late_ms)
                return false; /* it has waited */
        t->revision = revision;
        t->fresh_late_ms = now + FRESH_MS;
        t->look_ms = now + FRESH_LOOK_MS;
        http_request_on_close(x->req, left, NULL); /* ended takes it off the list */
        wait_for_answer(t);
        return true;
}

/* ?timeout=10s: shorter than the server's, not longer. */
static int read_timeout(struct track *t, struct error *err) {
        int64_t most = t->x->s->tracks->timeout_ms, ns = 0, ms;
        struct str text = request_query_get(http_request_arena(t->req), http_request_query(t->req), "timeout");
        _cleanup_buf_ struct buf why = BUF_INIT;

        if (!str_empty(text) && !t->long_running && duration_parse(text, &ns) < 0) {
                duration_explain(text, &why);
                return err_bad_request(err, "invalid timeout specified in the request URL - %" STR_FMT,
                                       STR_ARG(buf_str(&why)));
        }
        ms = ns > 0 ? MIN(most, MAX(ns / NSEC_PER_MSEC, 1)) : most;
        t->late_ms = t->started_ns / NSEC_PER_MSEC + ms;
        t->wait_late_ms = t->started_ns / NSEC_PER_MSEC + MAX(ms / 4, 1);
        return 0;
}

int64_t track_deadline_ms(const struct exchange *x) {
        return x->track->late_ms;
}

/* How many objects a list looks at, as upstream's would: from the cache all of the resource, else twice the page, once
 * more than that when it selects. */
static int64_t objects_looked_at(const struct exchange *x, bool watch) {
        const struct api_options *o = &x->query.options;
        _cleanup_(store_snapshot_unrefp) struct store_snapshot *snap = store_snapshot(x->s->store);
        struct str prefix = x->rest->stored->prefix;
        int64_t n = (int64_t) store_count(snap, prefix, prefix), page = o->limit > 0 ? MIN(o->limit, n) : n;

        if (watch || !api_lists_exactly(o))
                return n;
        return str_empty(o->label_selector) && str_empty(o->field_selector) ? 2 * page : n + page;
}

/* What a request costs (KEP-1040, width of requests). */
static struct flow_work work_of(const struct exchange *x, const struct attributes *at, bool is_watch) {
        const struct api_options *o = &x->query.options;
        struct flow_work w = { .seats = 1 };
        bool lists = is_watch ? o->send_initial_events : strcmp(at->verb, "list") == 0;

        if (!x->rest || strcmp(at->verb, "get") == 0)
                return w;
        if (lists && str_empty(at->name) && str_search(o->field_selector, STR("metadata.name=")) < 0)
                w.seats = (unsigned) MIN((objects_looked_at(x, is_watch) + 99) / 100, 1000);
        if (lists || is_watch || strcmp(at->verb, "deletecollection") == 0)
                return w;
        w.writes = true;
        if (!str_eqc(at->subresource, "token")) /* which makes no event */
                w.watchers = watch_interest(x->s, x->rest, at->namespace, at->name);
        return w;
}

static void describe(struct track *t, struct attributes *at) {
        static const struct {
                const char *verb, *shown, *writes;
        } verbs[] = {
                { "get", "GET", NULL },           { "list", "LIST", NULL },
                { "watch", "WATCH", NULL },       { "create", "POST", "create" },
                { "update", "PUT", "update" },    { "patch", "PATCH", "patch" },
                { "delete", "DELETE", "delete" }, { "deletecollection", "DELETE", "delete_collection" },
                { "head", "GET", NULL },          { "post", "POST", NULL },
                { "put", "PUT", NULL },
        };
        struct exchange *x = t->x;
        const struct request_info *i = &x->info;

        *at = exchange_attributes(x);
        if (i->is_resource)
                x->rest = rest_acquire(x->s, i->group, i->version, i->plural);
        t->verb = "OTHER";
        for (size_t k = 0; k < ARRAY_SIZE(verbs); k++)
                if (strcmp(at->verb, verbs[k].verb) == 0) {
                        t->verb = verbs[k].shown;
                        t->writes = verbs[k].writes;
                        break;
                }
        if (strcmp(at->verb, "patch") == 0 &&
            str_has_prefix(http_request_header(x->req, "content-type"), STR("application/apply-patch")))
                t->verb = "APPLY";
        t->is_watch = strcmp(at->verb, "watch") == 0;
        t->long_running = t->is_watch || (i->is_resource ? is_connect(i) || i->legacy_proxy
                                                         : str_has_prefix(at->path, STR("/debug/pprof/")));
        if (t->long_running && !t->is_watch) {
                t->verb = "CONNECT";
                t->writes = NULL;
        }
}

static void seat(struct track *t, const struct attributes *at) {
        struct exchange *x = t->x;
        struct flow_work work = work_of(x, at, t->is_watch);

        t->ticket.path = http_request_path(x->req);
        switch (flow_enter(x->s, http_request_worker(x->req), &x->user, at, &work, http_request_loop(x->req),
                           &t->ticket, turn_came, t)) {
        case FLOW_RUN:
                admitted(t);
                break;
        case FLOW_WAIT:
                track_count_queued(t, 1);
                http_request_on_close(x->req, client_gone, t);
                wait_for_answer(t);
                break;
        case FLOW_REJECT:
                too_many(t, t->ticket.retry_after);
                break;
        }
}

/* The audit log knows of it. */
static void enter(struct track *t, const struct attributes *at) {
        _cleanup_buf_ struct buf text = BUF_INIT;

        if (t->audit && audit_refuses(t->audit)) {
                buf_addc(&text, "Internal Server Error: ");
                add_sanitized(&text, http_request_uri(t->req), true);
                buf_addc(&text, ": failed to store audit event\n");
                plain_error(t->req, 500, 0, arena_str(http_request_arena(t->req), buf_str(&text)));
        } else if (t->long_running && !t->is_watch) /* connections to pods are not the server's work */
                admitted(t);
        else
                seat(t, at);
}

static void received(void *arg) {
        struct track *t = arg;

        http_request_on_close(t->req, NULL, NULL);
        list_del(&t->link);
        enter(t, t->waiting);
}

/* Upstream has not asked who it is by then. */
static void refuse_timeout(struct exchange *x, const struct attributes *at, struct error *e) {
        x->user = (struct api_user) { 0 };
        x->impersonated = false;
        if (x->s->audit)
                audit_failed(x->s->audit, x, at, x->track->headers[0].value, e, AUDIT_STARTED, false);
        respond_error(x->req, &x->format, e);
}

bool track_timeout_is_wrong(struct exchange *x) {
        _cleanup_error_ struct error e = ERROR_INIT;
        struct attributes at = { 0 };

        describe(x->track, &at);
        if (read_timeout(x->track, &e) == 0)
                return false;
        refuse_timeout(x, &at, &e);
        return true;
}

void track_enter(struct exchange *x, void (*proceed)(struct exchange *x)) {
        struct track *t = x->track;
        _cleanup_error_ struct error e = ERROR_INIT;
        struct attributes at = { 0 };

        describe(t, &at);
        t->known = true;
        t->proceed = proceed;
        track_count_running(t, 1);
        if (read_timeout(t, &e) < 0)
                return refuse_timeout(x, &at, &e);
        int64_t since = x->s->audit ? now_mono_ns() : 0;
        if (x->s->audit)
                t->audit = audit_begin(x->s->audit, x, &at, t->headers[0].value);
        filter_passed(FILTER_AUDIT, since ? now_mono_ns() - since : 0);
        if (!t->audit || !audit_waits(t->audit, received, t))
                return enter(t, &at);
        t->waiting = arena_dup(http_request_arena(x->req), &at, sizeof(at));
        http_request_on_close(x->req, left, NULL);
        wait_for_answer(t);
}

void track_turned_away(struct exchange *x, const struct error *why) {
        struct attributes at = { 0 };

        if (!x->s->audit)
                return;
        describe(x->track, &at);
        audit_failed(x->s->audit, x, &at, x->track->headers[0].value, why,
                     why->reason == REASON_UNAUTHORIZED ? AUDIT_STARTED : AUDIT_COMPLETE, x->track->long_running);
        rest_release(TAKE_PTR(x->rest));
}

void track_again(struct http_request *req) {
        struct track *t = http_request_userdata(req);

        if (t->known)
                run(t);
        else
                handle_request(req, t->x->s);
}

void track_request_body(struct exchange *x, const struct json *body) {
        audit_request(x->track->audit, body);
}

#define WARNINGS_RUNES 4096 /* of all warnings of an answer; where there are more each is cut at */
#define WARNING_RUNES 256

/* The end of the first most characters; *ret_n: how many there are. */
static size_t cut(struct str s, size_t most, size_t *ret_n) {
        size_t end = 0;

        *ret_n = 0;
        for (size_t i = 0; i <= s.n; i++)
                if (i == s.n || ((unsigned char) s.p[i] & 0xc0) != 0x80) { /* a character begins, or the text ends */
                        if (*ret_n <= most)
                                end = i;
                        *ret_n += i < s.n;
                }
        return end;
}

/* Warning: 299 - "text", one header each (RFC 7234). */
void track_warnings(struct exchange *x, const struct str *warnings, size_t n) {
        struct track *t = x->track;
        struct arena *a = http_request_arena(x->req);
        size_t first = x->notes.warning.n > 0, all = 0, runes;

        for (size_t i = 0; i < n + first; i++) {
                cut(i < first ? x->notes.warning : warnings[i - first], 0, &runes);
                all += runes;
        }
        t->warnings = arena_array(a, struct http_header, n + first);
        t->n_warnings = 0;
        for (size_t i = 0, written = 0; i < n + first && written < WARNINGS_RUNES; i++) {
                struct str one = i < first ? x->notes.warning : warnings[i - first];
                size_t end = all > WARNINGS_RUNES ? cut(one, WARNING_RUNES, &runes) : one.n;
                _cleanup_buf_ struct buf b = BUF_INIT;
                bool clean = true;

                for (size_t k = 0; k < end; k++) {
                        unsigned char c = (unsigned char) one.p[k],
                                      next = k + 1 < end ? (unsigned char) one.p[k + 1] : 0;

                        clean = clean && c >= 0x20 && c != 0x7f && !(c == 0xc2 && next < 0xa0);
                }
                if (!clean) /* no header says that: upstream drops it */
                        continue;
                buf_addc(&b, "299 - \"");
                for (size_t k = 0; k < end; k++) {
                        char c = one.p[k];

                        if (c == '"' || c == '\\')
                                buf_putc(&b, '\\');
                        buf_putc(&b, c);
                }
                buf_putc(&b, '"');
                written += all > WARNINGS_RUNES ? MIN(runes, WARNING_RUNES) : 0;
                t->warnings[t->n_warnings++] = (struct http_header) { STR("warning"), arena_str(a, buf_str(&b)) };
        }
}

void track_permitted(struct exchange *x) {
        const struct track *t = x->track;

        if (!x->rest->deprecated.n)
                return;
        track_warnings(x, &x->rest->deprecated, 1);
        if (!t->audit)
                return;
        audit_annotate(t->audit, STR("k8s.io/deprecated"), STR("true"));
        if (track_removed_release(x->rest).n)
                audit_annotate(t->audit, STR("k8s.io/removed-release"), track_removed_release(x->rest));
}

void track_uncounted(struct exchange *x) {
        x->track->uncounted = true;
}

void track_call(struct exchange *x, const struct api_call *c) {
        x->track->uncounted = c->forbidden;
        if (!c->forbidden)
                track_permitted(x);
        if (c->n_warnings)
                track_warnings(x, c->warnings, c->n_warnings);
        x->track->elsewhere_ns += c->webhooks_ns;
        json_each_member(m, c->annotations)
                audit_annotate(x->track->audit, json_key(m), json_str(&m->value));
}

/* A Status is told at all levels. */
static bool is_status(struct str text) {
        return str_has_prefix(text, STR("{\"kind\":\"Status\"")) ||
               str_has_prefix(text, STR("{\n  \"kind\": \"Status\""));
}

bool track_wants_response(struct http_request *req, int code) {
        struct track *t = http_request_userdata(req);

        return t && audit_wants_response(t->audit, code);
}

void track_response(struct http_request *req, int code, const struct http_slice *body, size_t n) {
        struct track *t = http_request_userdata(req);

        if (t && t->audit && (track_wants_response(req, code) || (n > 0 && is_status(body[0].data))))
                audit_response(t->audit, body, n);
}

/* ---- life ---- */

struct tracks *tracks_new(struct apiserver *s) {
        struct tracks *t = xcalloc(1, sizeof(*t));
        _cleanup_buf_ struct buf b = BUF_INIT;

        t->s = s;
        t->timeout_ms = server_flag_ms(s, "request-timeout", 60000);
        t->goaway = strtod(server_flag(s, "goaway-chance", "0"), NULL);
        str_each(one, str_of(server_flag(s, "strict-transport-security-directives", "")), ',') {
                buf_addc(&b, b.n ? "; " : "");
                buf_add_str(&b, one);
        }
        t->hsts = arena_str(s->arena, buf_str(&b));
        track_count_nothing();
        return t;
}

struct look {
        struct pending *const *p; /* its worker's */
        bool idle;
};

static void look_at(void *arg) {
        struct look *l = arg;

        l->idle = !*l->p || list_empty(&(*l->p)->requests);
}

void tracks_drain(struct tracks *t, unsigned grace_ms) {
        int64_t until = now_mono_ms() + grace_ms;

        for (size_t i = 0; i < http_server_workers(t->s->http) && i < MAX_WORKERS; i++) {
                struct look l = { .p = &t->workers[i] };

                while (!l.idle && now_mono_ms() < until) {
                        loop_call_sync(http_server_worker(t->s->http, i), look_at, &l);
                        if (!l.idle)
                                usleep(1000);
                }
        }
}

static void stop_worker(void *arg) {
        struct pending *p = arg;

        timer_close(&p->timer, NULL);
}

void tracks_stop(struct tracks *t) {
        atomic_store(&t->stopping, true);
        for (size_t i = 0; i < http_server_workers(t->s->http) && i < MAX_WORKERS; i++)
                if (t->workers[i])
                        loop_call_sync(t->workers[i]->loop, stop_worker, t->workers[i]);
}

void tracks_free(struct tracks *t) {
        for (size_t i = 0; t && i < MAX_WORKERS; i++)
                free(t->workers[i]);
        free(t);
}
