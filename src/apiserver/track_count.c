/* What is counted of requests, under upstream's names. */
#include "apiserver/track_internal.h"
#include "base/metrics.h"

static const double seconds[] = { 0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1,  1.25, 1.5, 2,
                                  3,     4,     5,    6,   8,   10,  15,  20,  30, 45,   60 };
METRIC(request_total, COUNTER, "apiserver_request_total",
       "[STABLE] Counter of apiserver requests broken out for each verb, dry run value, group, version, resource, "
       "scope, component, and HTTP response code.");
HISTOGRAM(request_duration, seconds, "apiserver_request_duration_seconds",
          "[STABLE] Response latency distribution in seconds for each verb, dry run value, group, version, resource, "
          "subresource, scope and component.");
static const struct metric request_sli_duration = {
        "apiserver_request_sli_duration_seconds",
        "[ALPHA] Response latency distribution (not counting webhook duration and priority & fairness queue wait "
        "times) in seconds for each verb, group, version, resource, subresource, scope and component.",
        METRIC_HISTOGRAM, seconds + 2, ARRAY_SIZE(seconds) - 2
};
static const double sizes[] = { 1000, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9 };
HISTOGRAM(response_sizes, sizes, "apiserver_response_sizes",
          "[STABLE] Response size distribution in bytes for each group, version, verb, resource, subresource, scope "
          "and component.");
METRIC(deprecated_apis, FLAG, "apiserver_requested_deprecated_apis",
       "[STABLE] Gauge of deprecated APIs that have been requested, broken out by API group, version, resource, "
       "subresource, and removed_release.");
METRIC(inflight, GAUGE, "apiserver_current_inflight_requests",
       "[STABLE] Maximal number of currently used inflight request limit of this apiserver per request kind in last "
       "second.");
METRIC(long_running, GAUGE, "apiserver_longrunning_requests",
       "[STABLE] Gauge of all active long-running apiserver requests broken out by verb, group, version, resource, "
       "scope and component. Not all requests are tracked this way.");
METRIC(terminations, COUNTER, "apiserver_request_terminations_total",
       "[ALPHA] Number of requests which apiserver terminated in self-defense.");

METRIC(aborts, COUNTER, "apiserver_request_aborts_total",
       "[ALPHA] Number of requests which apiserver aborted possibly due to a timeout, for each group, version, verb, "
       "resource, subresource and scope");
METRIC(inqueue, GAUGE, "apiserver_current_inqueue_requests",
       "[ALPHA] Maximal number of queued requests in this apiserver per request kind in last second.");

/* 0.05 MB, and up to the limit by 0.1 MB */
static const double body_bounds[] = { 5e4,   15e4,  25e4,  35e4,  45e4,  55e4,  65e4,  75e4,  85e4,  95e4,  105e4,
                                      115e4, 125e4, 135e4, 145e4, 155e4, 165e4, 175e4, 185e4, 195e4, 205e4, 215e4,
                                      225e4, 235e4, 245e4, 255e4, 265e4, 275e4, 285e4, 295e4, 305e4 };
HISTOGRAM(body_sizes, body_bounds, "apiserver_request_body_size_bytes",
          "[ALPHA] Apiserver request body size in bytes broken out by resource and verb.");

/* What upstream counts of paths that are no resource, and as what; NULL: it does not. */
static const char *page_of(const struct track *t) {
        static const char *const pages[][2] = {
                { "/healthz", "/healthz" },
                { "/livez", "/livez" },
                { "/readyz", "/readyz" },
                { "/openapi/v3", "openapi/v3" },
        };
        struct str path = http_request_path(t->req);

        for (size_t i = 0; i < ARRAY_SIZE(pages); i++)
                if (str_eqc(path, pages[i][0]))
                        return pages[i][1];
        return str_has_prefix(path, STR("/openapi/v3/")) ? "openapi/v3/" : NULL;
}

static const char *scope_of(const struct track *t) {
        const struct request_info *i = &t->x->info;

        if (!i->is_resource)
                return "";
        return !str_empty(i->name) || strcmp(t->verb, "POST") == 0 ? "resource"
               : !str_empty(i->namespace)                          ? "namespace"
                                                                   : "cluster";
}

/* Only what exists: paths of clients' invention do not become labels. */
static struct str subresource_of(const struct track *t) {
        const struct exchange *x = t->x;

        if (!x->info.is_resource)
                return str_of(page_of(t) ? page_of(t) : "");
        return x->rest && !str_empty(x->info.subresource) && api_subresource(x->rest->resource, x->info.subresource)
                               ? x->info.subresource
                               : STR("");
}

struct labels {
        const struct track *t;
        bool dry_run, code, no_component;
};

static void write_labels(struct buf *dst, const void *arg) {
        const struct labels *l = arg;
        const struct track *t = l->t;
        const struct rest *r = t->x->rest;
        struct str none = STR("");
        char code[12];

        if (l->code) {
                snprintf(code, sizeof(code), "%d", t->status);
                metric_label(dst, "code", str_of(code));
        }
        if (!l->no_component)
                metric_label(dst, "component", t->x->info.is_resource ? STR("apiserver") : STR(""));
        if (l->dry_run)
                metric_label(dst, "dry_run", t->x->query.options.dry_run ? STR("All") : none);
        metric_label(dst, "group", r ? r->group : none);
        metric_label(dst, "resource", r ? r->plural : none);
        metric_label(dst, "scope", str_of(scope_of(t)));
        metric_label(dst, "subresource", subresource_of(t));
        metric_label(dst, "verb", str_of(t->verb));
        metric_label(dst, "version", r ? r->version : none);
}

/* "1.37", or empty. */
struct str track_removed_release(const struct rest *r) {
        static const struct str removed = STR_INIT("unavailable in v");
        ssize_t at = str_search(r->deprecated, removed);
        struct str release = at < 0 ? STR("") : str_sub(r->deprecated, (size_t) at + removed.n, r->deprecated.n);

        return str_sub(release, 0, (size_t) MAX(str_find(release, '+'), 0));
}

static void deprecated_labels(struct buf *dst, const void *arg) {
        const struct track *t = arg;
        const struct rest *r = t->x->rest;

        metric_label(dst, "group", r->group);
        metric_label(dst, "removed_release", track_removed_release(r));
        metric_label(dst, "resource", r->plural);
        metric_label(dst, "subresource", subresource_of(t));
        metric_label(dst, "version", r->version);
}

/* What the labels of all these metrics have in common, as a number. */
static uint64_t identity(const struct track *t) {
        const struct rest *r = t->x->rest;
        uint64_t h = r ? str_hash(r->prefix) ^ str_hash(r->api_version) * 3 : 0;

        h = (h ^ str_hash(subresource_of(t))) * 0x9e3779b97f4a7c15ULL;
        return h ^ (uint64_t) (uintptr_t) t->verb ^ ((uint64_t) (uintptr_t) scope_of(t) << 7);
}

static struct series *series_of(const struct track *t, uint64_t h, const struct metric *m, bool dry_run, bool code) {
        h ^= (uint64_t) (code ? t->status : 0) << 48 ^ (uint64_t) (dry_run && t->x->query.options.dry_run) << 63;
        return metric_series(m, h, write_labels, &(struct labels) { t, dry_run, code });
}

static void kind_label(struct buf *dst, const void *arg) {
        metric_label(dst, "request_kind", str_of(arg));
}

static bool reads(const struct track *t) {
        return strcmp(t->verb, "GET") == 0 || strcmp(t->verb, "LIST") == 0; /* a watch too, but it is counted apart */
}

/* Upstream's watch is a GET as well, but not of what has handlers of its own. */
static bool is_sized(const struct track *t) {
        return reads(t) || (t->is_watch && t->x->rest && !t->x->rest->custom && !t->x->info.legacy_watch);
}

static void count_kind(const struct track *t, const struct metric *m, int n) {
        series_add(metric_series(m, reads(t), kind_label, reads(t) ? "readOnly" : "mutating"), n);
}

void track_count_running(const struct track *t, int n) {
        if (t->long_running && t->x->rest)
                series_add(series_of(t, identity(t), &long_running, false, false), n);
        else if (!t->long_running)
                count_kind(t, &inflight, n);
}

static void body_labels(struct buf *dst, const void *arg) {
        const struct track *t = arg;

        metric_label(dst, "resource", t->x->rest->qualified);
        metric_label(dst, "verb", str_of(t->writes));
}

void track_count_done(const struct track *t) {
        uint64_t h = identity(t);
        int64_t ns = now_mono_ns() - t->started_ns;

        if (t->uncounted || (!t->x->rest && (t->x->info.is_resource || !page_of(t))))
                return;
        if (t->writes && t->x->rest && t->status != 406 && t->status != 413 && t->status != 415) /* it was read */
                series_observe(metric_series(&body_sizes,
                                             (uint64_t) (uintptr_t) t->writes ^ str_hash(t->x->rest->qualified),
                                             body_labels, t),
                               (double) http_request_body(t->req).n);
        series_add(series_of(t, h, &request_total, true, true), 1);
        series_observe(series_of(t, h, &request_duration, true, false), (double) ns / 1e9);
        if (!t->is_watch)
                series_observe(series_of(t, h, &request_sli_duration, false, false),
                               (double) (ns - t->elsewhere_ns) / 1e9);
        if (t->bytes >= 0 && is_sized(t))
                series_observe(series_of(t, h, &response_sizes, false, false), (double) t->bytes);
        if (t->x->rest && t->x->rest->deprecated.n)
                series_add(metric_series(&deprecated_apis, h, deprecated_labels, t), 1);
}

void track_count_termination(struct track *t, int status) {
        t->status = status;
        series_add(series_of(t, identity(t), &terminations, false, true), 1);
}

void track_terminated(struct exchange *x, struct str status) {
        const struct track *t = x->track;
        const struct request_info *i = &x->info;
        struct str none = STR("");

        series_add(SERIES(&terminations, { "code", status }, { "component", STR("aggregator") },
                          { "group", i->is_resource ? i->group : none }, { "resource", i->plural },
                          { "scope", str_of(scope_of(t)) },
                          { "subresource", i->is_resource ? i->subresource : http_request_path(x->req) },
                          { "verb", str_of(t->verb) }, { "version", i->is_resource ? i->version : none }),
                   1);
}

void track_count_queued(const struct track *t, int n) {
        count_kind(t, &inqueue, n);
}

void track_count_abort(const struct track *t) {
        series_add(metric_series(&aborts, identity(t), write_labels, &(struct labels) { .t = t, .no_component = true }),
                   1);
}

void track_size(struct http_request *req, int64_t bytes) {
        const struct track *t = http_request_userdata(req);

        if (t && t->known && is_sized(t))
                series_observe(series_of(t, identity(t), &response_sizes, false, false), (double) bytes);
}

void track_count_nothing(void) {
        for (size_t i = 0; i < 2; i++) {
                series_add(metric_series(&inflight, i, kind_label, i ? "readOnly" : "mutating"), 0);
                series_add(metric_series(&inqueue, i, kind_label, i ? "readOnly" : "mutating"), 0);
        }
}
