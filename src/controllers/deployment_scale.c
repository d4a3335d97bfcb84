/* A Deployment that changes its size: with one active ReplicaSet that one simply follows; in the middle of a rollout
 * each gets its share, in proportion to what it has, so that the risk taken stays the same. What rounding leaves over
 * goes to the largest. */
#include "controllers/deployment.h"
#include "controllers/pods.h"

/* When all old ones are down and only the new one is (or should be) up, or nothing is up, there is one to scale. */
static struct replica_set *only_one(const struct rollout *r) {
        struct replica_set *active = r->new && r->new->replicas > 0 ? r->new : NULL;
        size_t n = active ? 1 : 0;

        for (size_t i = 0; i < r->n_old; i++)
                if (r->old[i]->replicas > 0) {
                        active = r->old[i];
                        n++;
                }
        if (n == 0)
                return r->new ? r->new : r->n_old > 0 ? r->old[r->n_old - 1] : NULL;
        return n == 1 ? active : NULL;
}

/* The new one is whole: its pods are all there and available, as many as wanted when it was last sized. */
static bool is_saturated(const struct rollout *r) {
        int64_t desired;

        return r->new &&str_to_i64(object_annotation(r->new->object, DESIRED), &desired) == 0 &&
               r->new->replicas == r->replicas &&desired == r->replicas && r->new->available == r->replicas;
}

struct share {
        struct replica_set *rs;
        int64_t size;
};

static bool goes_first(const struct share *a, const struct share *b, bool up) {
        if (a->rs->replicas != b->rs->replicas)
                return a->rs->replicas > b->rs->replicas;
        if (a->rs->created != b->rs->created) /* up: the newest profit, down: the oldest give */
                return up ? a->rs->created > b->rs->created : a->rs->created < b->rs->created;
        return str_cmp(object_name(a->rs->object), object_name(b->rs->object)) < 0;
}

static int64_t round_div(int64_t a, int64_t b) { /* halves away from zero */
        return (2 * a + b) / (2 * b);
}

/* What rs gains or loses when the whole goes to r->replicas + surge: its part of the maximum it was last sized for. */
static int64_t proportion(const struct rollout *r, const struct replica_set *rs, int64_t rest, int64_t given) {
        int64_t max, grown, part;

        if (rs->replicas == 0 || rest == given)
                return 0;
        if (str_to_i64(object_annotation(rs->object, MAXIMUM), &max) < 0 || max == 0)
                max = r->replicas;
        if (max == 0)
                return 0;
        grown = round_div(rs->replicas * (r->replicas + r->max_surge), max);
        part = grown - rs->replicas;
        return rest > 0 ? MIN(part, rest - given) : MAX(part, rest - given);
}

static int spread(struct rollout *r, struct error *err) {
        struct share *shares = arena_array(r->a, struct share, r->n_old + 1);
        int64_t total = 0, given = 0, rest;
        size_t n = 0;

        for (size_t i = 0; i <= r->n_old; i++) {
                struct replica_set *rs = i < r->n_old ? r->old[i] : r->new;

                if (!rs || rs->replicas == 0)
                        continue;
                shares[n++] = (struct share) { rs, rs->replicas };
                total += rs->replicas;
        }
        rest = (r->replicas > 0 ? r->replicas + r->max_surge : 0) - total;
        for (size_t i = 1; i < n; i++) /* a handful: insertion sort */
                for (size_t k = i; k > 0 && goes_first(&shares[k], &shares[k - 1], rest > 0); k--) {
                        struct share t = shares[k];

                        shares[k] = shares[k - 1];
                        shares[k - 1] = t;
                }
        for (size_t i = 0; i < n && rest != 0; i++) {
                int64_t part = proportion(r, shares[i].rs, rest, given);

                shares[i].size += part;
                given += part;
        }
        if (n > 0 && rest != given)
                shares[0].size = MAX(shares[0].size + rest - given, 0);
        for (size_t i = 0; i < n; i++)
                TRY(rollout_scale(r, shares[i].rs, shares[i].size, err));
        return 0;
}

int rollout_proportional(struct rollout *r, struct error *err) {
        struct replica_set *one = only_one(r);

        if (one)
                return one->replicas == r->replicas ? rollout_scale(r, one, one->replicas, err)
                                                    : rollout_scale(r, one, r->replicas, err);
        if (is_saturated(r)) {
                for (size_t i = 0; i < r->n_old; i++)
                        if (r->old[i]->replicas > 0)
                                TRY(rollout_scale(r, r->old[i], 0, err));
                return 0;
        }
        return r->recreate ? 0 : spread(r, err);
}
