/* Leader election on a Lease: whoever holds it renews every retry_seconds; who sees it unchanged for lease_seconds by
 * his own clock takes it over. Clocks of different machines are never compared.
 *
 *   timer ─▶ GET lease ─┬─ not there ──────────▶ CREATE with us as holder ─┐
 *                       ├─ ours, or run out ───▶ UPDATE (conflict: lost) ──┴─▶ leading, until renew_seconds
 *                       │                                                      pass without success
 *                       └─ another's ──────────────────────────────────────────▶ waiting
 */
#include "client/leader.h"

#include <errno.h>
#include <stdio.h>

#include "base/log.h"
#include "base/rand.h"
#include "base/time.h"
#include "client/transport.h"
#include "json/build.h"
#include "schema/types.h"

struct leader_election {
        struct client *client;
        struct leader_options o;
        char *namespace, *name, *identity;
        struct timer timer;
        bool leading, stopping, in_flight;
        uint64_t seen_revision; /* of the lease as we last saw it change … */
        int64_t seen_ns;        /* … and when, by our own clock */
        int64_t renewed_ns;
        struct object *lease; /* as last written or read by us */
};

static void step(struct leader_election *l);
static void answered(int result, struct object *object, const struct error *error, void *arg);

static void fire(struct timer *t) {
        step(container_of(t, struct leader_election, timer));
}

static void again(struct leader_election *l) {
        uint64_t ms = (uint64_t) l->o.retry_seconds * 1000;

        if (!l->stopping) /* waiting candidates spread out */
                timer_start(l->o.loop, &l->timer, l->leading ? ms : ms + rand_below(ms / 5 + 1), fire);
}

static void set_leading(struct leader_election *l, bool leading) {
        if (l->leading == leading)
                return;
        l->leading = leading;
        log_info("%s: %s leader of %s/%s", l->identity, leading ? "became" : "is no longer", l->namespace, l->name);
        if (leading && l->o.started)
                l->o.started(l->o.arg);
        else if (!leading && l->o.stopped)
                l->o.stopped(l->o.arg);
}

static void observe(struct leader_election *l, struct object *lease) {
        if (object_revision(lease) == l->seen_revision)
                return;
        l->seen_revision = object_revision(lease);
        l->seen_ns = now_mono_ns();
        object_unref(l->lease);
        l->lease = object_ref(lease);
}

static bool held_by_us(const struct leader_election *l) {
        return l->lease && str_eqc(LeaseSpec_holderIdentity(Lease_spec(object_json(l->lease))), l->identity);
}

static bool may_take(const struct leader_election *l) {
        const struct json *spec = Lease_spec(object_json(l->lease));

        return held_by_us(l) || str_empty(LeaseSpec_holderIdentity(spec)) ||
               now_mono_ns() - l->seen_ns > LeaseSpec_leaseDurationSeconds(spec) * NSEC_PER_SEC;
}

static void submit(struct leader_election *l, enum api_verb verb, const struct json *body) {
        l->in_flight = true;
        client_async(l->client,
                     &(struct client_request){
                                     .verb = verb,
                                     .resource = &res_leases,
                                     .namespace = str_of(l->namespace),
                                     .name = verb == API_CREATE ? str_n("", 0) : str_of(l->name),
                                     .body = body,
                                     .options = API_OPTIONS_INIT,
                     },
                     l->o.loop, answered, l);
}

/* Writes the lease as ours (or as nobody's): with the revision we saw, so that only one of several takers succeeds. */
static void claim(struct leader_election *l, bool release) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        char micro[36], acquired[36];
        struct str now = time_format_micro(micro, now_wall_ns());
        const struct json *old = l->lease ? Lease_spec(object_json(l->lease)) : NULL;
        int64_t transitions = LeaseSpec_leaseTransitions(old);
        bool ours = held_by_us(l);
        struct str since = ours ? LeaseSpec_acquireTime(old) : time_format_micro(acquired, now_wall_ns());
        struct json spec = json_build(a,
                                      "{ holderIdentity: %c, leaseDurationSeconds: %d, acquireTime: %s, renewTime: %s,"
                                      "  leaseTransitions: %l }",
                                      release ? "" : l->identity, release ? 1 : l->o.lease_seconds, since, now,
                                      old && !ours ? transitions + 1 : transitions);
        struct json lease;

        if (l->lease)
                lease = json_copy_tree(a, object_json(l->lease));
        else
                lease = json_build(a,
                                   "{ kind: 'Lease', apiVersion: 'coordination.k8s.io/v1', metadata: { name: %c, "
                                   "namespace: %c } }",
                                   l->name, l->namespace);
        json_setc(a, &lease, "spec", spec);
        submit(l, l->lease ? API_UPDATE : API_CREATE, &lease);
}

static void dispose_timer(struct timer *t) {
        struct leader_election *l = container_of(t, struct leader_election, timer);

        object_unref(l->lease);
        free(l->namespace);
        free(l->name);
        free(l->identity);
        free(l);
}

static void answered(int result, struct object *object, const struct error *error, void *arg) {
        struct leader_election *l = arg;

        l->in_flight = false;
        if (l->stopping) {
                timer_close(&l->timer, dispose_timer);
                return;
        }
        if (result == 0 && object) {
                observe(l, object);
                if (held_by_us(l))
                        l->renewed_ns = now_mono_ns();
                set_leading(l, held_by_us(l));
        } else if (result == -ENOENT) {
                object_unref(TAKE_PTR(l->lease));
                l->seen_revision = 0;
                claim(l, false);
                return;
        } else if (result == -EAGAIN || result == -EEXIST)
                l->seen_revision = 0; /* somebody was faster: look again */
        else
                log_warn("lease %s/%s: %s", l->namespace, l->name, error_text(error));
        if (l->leading && now_mono_ns() - l->renewed_ns > l->o.renew_seconds * NSEC_PER_SEC)
                set_leading(l, false);
        again(l);
}

static void looked(int result, struct object *object, const struct error *error, void *arg) {
        struct leader_election *l = arg;

        if (result == 0 && object && !l->stopping) {
                l->in_flight = false;
                observe(l, object);
                if (may_take(l)) {
                        claim(l, false);
                        return;
                }
        }
        answered(result, object, error, arg);
}

static void step(struct leader_election *l) {
        if (l->in_flight || l->stopping)
                return;
        if (l->leading && l->seen_revision != 0) { /* the holder writes without looking: a conflict tells him */
                claim(l, false);
                return;
        }
        l->in_flight = true;
        client_async(l->client,
                     &(struct client_request){
                                     .verb = API_GET,
                                     .resource = &res_leases,
                                     .namespace = str_of(l->namespace),
                                     .name = str_of(l->name),
                                     .options = API_OPTIONS_INIT,
                     },
                     l->o.loop, looked, l);
}

static void start(void *arg) {
        step(arg);
}

struct leader_election *leader_election_start(struct client *c, const struct leader_options *o) {
        struct leader_election *l = xcalloc(1, sizeof(*l));

        l->client = c;
        l->o = *o;
        l->o.lease_seconds = o->lease_seconds ? o->lease_seconds : 15;
        l->o.renew_seconds = o->renew_seconds ? o->renew_seconds : 10;
        l->o.retry_seconds = o->retry_seconds ? o->retry_seconds : 2;
        l->namespace = xstrdup(o->namespace);
        l->name = xstrdup(o->name);
        l->identity = xstrdup(o->identity);
        loop_call(o->loop, start, l);
        return l;
}

static void stop(void *arg) {
        struct leader_election *l = arg;

        timer_stop(&l->timer);
        l->stopping = true;
        if (l->in_flight)
                return; /* its answer disposes */
        if (held_by_us(l))
                claim(l, true); /* the next leader need not wait */
        else
                timer_close(&l->timer, dispose_timer);
}

void leader_election_stop(struct leader_election *l) {
        if (l)
                loop_call(l->o.loop, stop, l);
}
