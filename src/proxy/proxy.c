/* The service proxy: which Services changed, and when that goes to the kernel.
 *
 *   Services, EndpointSlices ── informers ──▶ dirty ── a turn ──▶ wanted ── against installed ──▶ one nft transaction
 *
 * What is wanted is built anew from the caches for each Service that changed (front.c) and compared with what is
 * installed (rules.c). All that changed in one turn of the loop goes to the kernel as one transaction; if that fails,
 * the whole table is written anew. */
#include "base/log.h"
#include "base/vec.h"
#include "client/informer.h"
#include "net/nft.h"
#include "proxy/conntrack.h"
#include "proxy/proxy.h"
#include "proxy/rules.h"
#include "schema/types.h"

#define RETRY_MS 1000 /* doubled each time */
#define RETRY_MAX_MS 30000

struct keys {
        VEC(char *) v;
};

struct proxy {
        char *node_name;
        struct client *client;
        struct loop *loop;
        struct informer_factory *informers;
        struct informer *services, *slices;
        struct informer_index *by_service;
        struct rules *rules;
        struct map *installed; /* "namespace/name" → struct keys of its fronts */
        struct map *dirty;     /* services to look at in the next turn */
        struct map *contended; /* keys of fronts that a second Service wants too */
        struct map *flows;     /* in a turn: address and port of UDP fronts that changed → struct front, a copy */
        struct loop_work turn;
        struct timer retry;
        uint64_t retry_ms;
        bool posted, stopping;
        bool fresh;     /* the table is to be written from nothing */
        bool all_dirty; /* a contended front has become free */
};

static void keys_free(void *p) {
        struct keys *k = p;
        for (size_t i = 0; i < k->v.n; i++)
                free(k->v.v[i]);
        vec_free(&k->v);
        free(k);
}

/* ---- UDP flows to backends that are gone ---- */

static struct str flow_key(char dst[static 6], uint32_t ip, uint16_t port) {
        memcpy(dst, &ip, 4);
        memcpy(dst + 4, &port, 2);
        return str_n(dst, 6);
}

/* f's backends are the ones whose flows may go on. */
static void note_flows(struct proxy *p, const struct front *f, size_t n) {
        char key[6];
        if (!f->udp)
                return;
        struct front *copy = xcalloc(1, sizeof(*copy));
        copy->n = n;
        copy->backends = xcalloc(n + 1, sizeof(*copy->backends));
        if (n)
                memcpy(copy->backends, f->backends, n * sizeof(*copy->backends));
        map_put(p->flows, flow_key(key, f->ip, f->port), copy);
}

static bool is_stale(uint32_t ip, uint16_t port, uint32_t reply_ip, uint16_t reply_port, void *arg) {
        struct proxy *p = arg;
        char key[6];
        const struct front *f = map_get(p->flows, flow_key(key, ip, port));
        if (!f) /* a NodePort's, on any address */
                f = map_get(p->flows, flow_key(key, 0, port));
        if (!f)
                return false;
        for (size_t i = 0; i < f->n; i++)
                if (f->backends[i] == ((backend_t) reply_ip << 16 | reply_port))
                        return false;
        return true;
}

/* ---- a turn ---- */

static struct map *wanted(struct proxy *p, struct str service) {
        struct object *const *slices;
        size_t n = informer_index_get(p->by_service, service, &slices);
        return fronts_wanted(service, informer_get(p->services, service), slices, n, p->node_name);
}

static bool same_kind(const struct front *a, const struct front *b) {
        return a->masquerade == b->masquerade && a->affinity == b->affinity && a->drop == b->drop &&
               a->external == b->external && !a->n == !b->n;
}

/* Takes away what is not wanted any more, or wanted otherwise. */
static void remove_old(struct proxy *p, struct buf *b, struct str service, const struct map *want) {
        struct keys *old = map_get(p->installed, service);
        for (size_t i = 0; old && i < old->v.n; i++) {
                struct str key = str_of(old->v.v[i]);
                struct front *have = rules_front(p->rules, key), *w = map_get(want, key);
                if (!have || (w && same_kind(have, w)))
                        continue;
                if (!w)
                        note_flows(p, have, 0);
                if (!w && map_remove(p->contended, key))
                        p->all_dirty = true;
                rules_uninstall(p->rules, b, have);
        }
}

/* Takes w. false: another Service has this front. */
static bool put_front(struct proxy *p, struct buf *b, struct front *w) {
        struct front *have = rules_front(p->rules, str_of(w->key));
        if (!have) {
                note_flows(p, w, w->n);
                rules_install(p->rules, b, w);
                return true;
        }
        bool ours = strcmp(have->service, w->service) == 0;
        if (!ours)
                map_put(p->contended, str_of(w->key), p);
        else if (rules_adjust(p->rules, b, have, w))
                note_flows(p, have, have->n);
        front_free(w);
        return ours;
}

static void sync_service(struct proxy *p, struct buf *b, struct str service) {
        struct map *want = wanted(p, service);
        struct keys *now = xcalloc(1, sizeof(*now));
        remove_old(p, b, service, want);
        map_each(it, want) {
                char *key = str_dup(it.key);
                if (put_front(p, b, map_take(want, str_of(key))))
                        vec_push(&now->v, key);
                else
                        free(key);
        }
        map_free(want);
        if (now->v.n) {
                map_put(p->installed, service, now);
        } else {
                map_remove(p->installed, service);
                keys_free(now);
        }
}

static void mark_all(struct proxy *p) {
        map_each(it, informer_objects(p->services))
                map_put(p->dirty, it.key, p);
}

static void kick(struct proxy *p) {
        if (p->posted || p->stopping)
                return;
        p->posted = true;
        loop_post(p->loop, &p->turn);
}

static void on_retry(struct timer *t) {
        kick(container_of(t, struct proxy, retry));
}

static void commit(struct proxy *p, struct buf *b) {
        _cleanup_error_ struct error err = ERROR_INIT;
        int r = 0;
        if (b->n) {
                buf_putc(b, 0);
                r = nft_run(b->p, &err);
        }
        p->fresh = r < 0;
        if (r < 0) {
                log_error("writing the Services' rules failed, writing all of them anew: %s", error_text(&err));
                timer_start(p->loop, &p->retry, p->retry_ms, on_retry);
                p->retry_ms = MIN(2 * p->retry_ms, (uint64_t) RETRY_MAX_MS);
                return;
        }
        p->retry_ms = RETRY_MS;
        if (map_size(p->flows) && conntrack_forget_udp(is_stale, p, &err) < 0)
                log_warn("%s", error_text(&err));
}

static void run_turn(struct loop_work *w) {
        struct proxy *p = container_of(w, struct proxy, turn);
        _cleanup_buf_ struct buf b = BUF_INIT;
        p->posted = false;
        if (p->stopping || !informer_factory_synced(p->informers))
                return;
        if (p->fresh) { /* nothing of what was installed counts */
                map_clear(p->installed);
                map_clear(p->contended);
                rules_start_over(p->rules, &b);
                mark_all(p);
        }
        map_each(it, p->dirty)
                sync_service(p, &b, it.key);
        map_clear(p->dirty);
        commit(p, &b);
        map_clear(p->flows);
        if (p->all_dirty) {
                p->all_dirty = false;
                mark_all(p);
                kick(p);
        }
}

static void mark_dirty(struct proxy *p, struct str service) {
        map_put(p->dirty, service, p);
        kick(p);
}

static void on_service(struct object *old, struct object *new, void *arg) {
        _cleanup_(arena_freep) struct arena *a = arena_new(512);
        mark_dirty(arg, object_key(a, new ? new : old));
}

static void on_slice(struct object *old, struct object *new, void *arg) {
        _cleanup_(arena_freep) struct arena *a = arena_new(512);
        if (old)
                mark_dirty(arg, slice_service(a, old));
        if (new)
                mark_dirty(arg, slice_service(a, new));
}

/* ---- life ---- */

static void on_synced(void *arg) {
        kick(arg);
}

static void begin(void *arg) {
        struct proxy *p = arg;
        p->services = informer_of(p->informers, &res_services);
        p->slices = informer_of(p->informers, &res_endpointslices);
        p->by_service = informer_add_index(p->slices, "service", informer_index_by_service);
        informer_add_handler(p->services, on_service, p);
        informer_add_handler(p->slices, on_slice, p);
        informer_on_synced(p->services, on_synced, p);
        informer_on_synced(p->slices, on_synced, p);
        informer_factory_start(p->informers);
}

int proxy_start(const struct proxy_options *o, struct proxy **ret, struct error *err) {
        struct loop *loop;
        TRY(loop_new("proxy", &loop, err));
        struct proxy *p = xcalloc(1, sizeof(*p));
        _cleanup_free_ char *table = xprintf("%s-proxy", o->nft_table);
        *p = (struct proxy) {
                .node_name = xstrdup(o->node_name),
                .client = o->client,
                .loop = loop,
                .turn.run = run_turn,
                .fresh = true,
                .retry_ms = RETRY_MS,
                .rules = rules_new(table, o->cluster_cidr),
                .installed = map_new(keys_free),
                .dirty = map_new(NULL),
                .contended = map_new(NULL),
                .flows = map_new(front_free),
        };
        p->informers = informer_factory_new(p->client, p->loop);
        loop_start_thread(p->loop);
        loop_call(p->loop, begin, p);
        *ret = p;
        return 0;
}

static void end(void *arg) {
        struct proxy *p = arg;
        p->stopping = true;
        timer_close(&p->retry, NULL);
        informer_factory_free(p->informers);
        loop_stop(p->loop);
}

void proxy_stop(struct proxy *p) {
        loop_call(p->loop, end, p);
        loop_join(p->loop);
        loop_free(p->loop);
        struct map *maps[] = { p->installed, p->dirty, p->contended, p->flows };
        for (size_t i = 0; i < ARRAY_SIZE(maps); i++)
                map_free(maps[i]);
        rules_free(p->rules);
        free(p->node_name);
        free(p);
}

int proxy_destroy(const char *nft_table, struct error *err) {
        _cleanup_free_ char *table = xprintf("%s-proxy", nft_table);
        return nft_delete_table("ip", table, err);
}
