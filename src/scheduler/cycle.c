/* One decision: which nodes fit, and which of them is best. In large clusters not all nodes are looked at: enough to
 * find max(100, 5..50 %) that fit, beginning where the last cycle ended, as upstream's percentageOfNodesToScore does.
 */
#include "base/rand.h"
#include "scheduler/framework.h"

#define MAX_SCORE 100
#define MIN_FEASIBLE 100

static size_t feasible_wanted(size_t nodes) {
        if (nodes < MIN_FEASIBLE)
                return nodes;
        size_t percent = nodes / 125 < 45 ? 50 - nodes / 125 : 5;
        return MAX(nodes * percent / 100, (size_t) MIN_FEASIBLE);
}

static void diagnose(struct diagnosis *d, const struct reasons *why, enum verdict v) {
        d->unresolvable += v == UNRESOLVABLE;
        for (size_t i = 0; i < why->n; i++) {
                struct str text = str_of(why->text[i]);
                map_put(d->counts, text, (void *) ((uintptr_t) map_get(d->counts, text) + 1));
        }
}

static enum verdict filter(const struct pod_info *p, const struct node_info *n, struct reasons *why) {
        why->n = 0;
        for (const struct plugin *const *pl = plugins; *pl; pl++) {
                enum verdict v = (*pl)->filter ? (*pl)->filter(p, n, why) : FIT;
                if (v != FIT)
                        return v;
        }
        return FIT;
}

static void add_scores(const struct plugin *pl, const struct pod_info *p, struct node_info *const *nodes,
                       int64_t *total, int64_t *scratch, size_t n) {
        int64_t max = 0;
        for (size_t i = 0; i < n; i++) {
                scratch[i] = pl->score(p, nodes[i]);
                max = MAX(max, scratch[i]);
        }
        for (size_t i = 0; i < n; i++) {
                int64_t s = scratch[i];
                if (pl->normalize != SCORE_AS_IS)
                        s = max ? s * MAX_SCORE / max : 0;
                if (pl->normalize == SCORE_NORMALIZE_REVERSE)
                        s = MAX_SCORE - s;
                total[i] += s * pl->weight;
        }
}

/* The best, chosen by chance among equals. */
static struct node_info *best(const struct pod_info *p, struct node_info *const *nodes, size_t n) {
        if (n == 1)
                return nodes[0];
        _cleanup_free_ int64_t *total = xcalloc(n, sizeof(*total)), *scratch = xcalloc(n, sizeof(*scratch));
        for (const struct plugin *const *pl = plugins; *pl; pl++)
                if ((*pl)->score)
                        add_scores(*pl, p, nodes, total, scratch, n);
        size_t chosen = 0, equals = 1;
        for (size_t i = 1; i < n; i++) {
                if (total[i] > total[chosen]) {
                        chosen = i;
                        equals = 1;
                } else if (total[i] == total[chosen] && rand_below(++equals) == 0) {
                        chosen = i;
                }
        }
        return nodes[chosen];
}

struct node_info *schedule_one(struct cache *c, const struct pod_info *p, struct diagnosis *d) {
        size_t n = c->nodes.n, wanted = feasible_wanted(n), found = 0, seen = 0;
        _cleanup_free_ struct node_info **feasible = xcalloc(wanted + 1, sizeof(*feasible));
        struct reasons why;
        for (; seen < n && found < wanted; seen++) {
                struct node_info *node = c->nodes.v[(c->next_start + seen) % n];
                enum verdict v = filter(p, node, &why);
                if (v == FIT)
                        feasible[found++] = node;
                else
                        diagnose(d, &why, v);
        }
        d->nodes = n;
        if (n)
                c->next_start = (c->next_start + seen) % n;
        return found ? best(p, feasible, found) : NULL;
}

static int by_text(const void *a, const void *b) {
        return strcmp(*(char *const *) a, *(char *const *) b);
}

void diagnosis_print(const struct diagnosis *d, struct buf *dst) {
        if (!d->nodes)
                return buf_addc(dst, "no nodes available to schedule pods");
        size_t n = 0;
        _cleanup_free_ char **lines = xcalloc(map_size(d->counts) + 1, sizeof(*lines));
        map_each(it, d->counts)
                lines[n++] = xprintf("%zu %" STR_FMT, (size_t) (uintptr_t) it.value, STR_ARG(it.key));
        qsort(lines, n, sizeof(*lines), by_text);
        buf_printf(dst, "0/%zu nodes are available: %" STR_FMT, d->nodes, STR_ARG(buf_str(&d->waits)));
        for (size_t i = 0; i < n; i++) {
                buf_printf(dst, "%s%s", i ? ", " : "", lines[i]);
                free(lines[i]);
        }
        size_t helpless = d->nodes - d->unresolvable;
        buf_printf(dst, ". preemption: 0/%zu nodes are available: ", d->nodes);
        if (helpless)
                buf_printf(dst, "%zu No preemption victims found for incoming pod", helpless);
        if (d->unresolvable)
                buf_printf(dst, "%s%zu Preemption is not helpful for scheduling", helpless ? ", " : "",
                           d->unresolvable);
        buf_putc(dst, '.');
}
