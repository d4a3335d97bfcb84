/* What expressions cost: exactly, as they run (call_cost), and at least and at most, from the declared sizes of the
 * data (cel_estimate). Both count as cel-go and the Kubernetes libraries do, because the limits of CRDs are set in
 * these units. Sizes are of the declaration a node's data comes from; where there is none, anything may be there. */
#include <math.h>

#include "cel/internal.h"

#define MANY UINT64_MAX
#define TRAVERSE 0.1
#define REGEX 0.25

struct range {
        uint64_t min, max;
};

static const struct range unknown = { 0, MANY }, one = { 1, 1 };

static uint64_t add(uint64_t a, uint64_t b) {
        return a > MANY - b ? MANY : a + b;
}

static uint64_t mul(uint64_t a, uint64_t b) {
        return b != 0 && a > MANY / b ? MANY : a * b;
}

static uint64_t scale(uint64_t x, double by) {
        double d = ceil((double) x * by);

        return d >= 0x1p64 ? MANY : (uint64_t) d;
}

static struct range sum(struct range a, struct range b) {
        return (struct range) { add(a.min, b.min), add(a.max, b.max) };
}

static struct range product(struct range a, struct range b) {
        return (struct range) { mul(a.min, b.min), mul(a.max, b.max) };
}

static struct range scaled(struct range a, double by) {
        return (struct range) { scale(a.min, by), scale(a.max, by) };
}

static struct range either(struct range a, struct range b) {
        return (struct range) { MIN(a.min, b.min), MAX(a.max, b.max) };
}

/* ---- at run time ---- */

/* What is far more than any limit need not be known. */
static uint64_t traversal(struct ctx *c, const struct cel_value *v, size_t *steps) {
        uint64_t cost = 0;

        struct cel_value item, key;
        bool list = v->kind == CEL_LIST;
        size_t n = list ? v->n : 0;

        if (v->kind == CEL_STRING || v->kind == CEL_BYTES)
                return (uint64_t) (v->n * TRAVERSE);
        if ((v->kind == CEL_MAP || v->kind == CEL_OBJECT) && v->form != CEL_LAZY)
                n = cel_map_size(v);
        else if (!list)
                return 1;
        for (size_t i = 0; i < n; i++) {
                if (++*steps > 10 * CEL_CALL_LIMIT)
                        return 10 * CEL_CALL_LIMIT;
                if (list) {
                        item = list_get(c->a, v, i);
                } else {
                        cel_map_entry(c, v, i, &key, &item);
                        cost += traversal(c, &key, steps);
                }
                cost += traversal(c, &item, steps);
        }
        return cost;
}

static uint64_t add_cost(const struct cel_value *v) {
        if (v[0].kind != CEL_STRING && v[0].kind != CEL_BYTES)
                return 1;
        return scale(value_size(&v[0]) + value_size(&v[1]), TRAVERSE);
}

static uint64_t matching(const struct cel_value *v) {
        return mul(scale(1 + value_size(&v[0]), TRAVERSE), scale(value_size(&v[1]), REGEX));
}

/* Arguments may be of any kind, when there is no overload for them. */
static bool is_opaque(const struct cel_value *v, char letter) {
        return v->kind == CEL_OPAQUE && v->type == opaque_type(letter);
}

static uint64_t cidr_cost(const struct node *n, const struct cel_value *v) {
        uint64_t size = is_opaque(&v[0], 'N') ? opaque_size(&v[0]) : 1, cost = scale(2 * size, TRAVERSE);

        if (n->fn->cost == COST_CONTAINS_CIDR)
                cost += scale(size, TRAVERSE) + 1;
        return v[1].kind == CEL_STRING ? cost + scale(value_size(&v[1]), TRAVERSE) : cost;
}

/* A literal list of scalars: cel-go makes a set of it. */
static bool is_set(const struct node *list) {
        enum cel_kind first = list->kind == NODE_CONST && list->value.n > 0 ? list->value.items[0].kind : CEL_NULL;

        return first >= CEL_BOOL && first <= CEL_STRING;
}

/* A call that may be of several signatures is taken for one that costs one. */
uint64_t call_cost(struct ctx *c, const struct node *n, const struct cel_value *v, const struct cel_value *result) {
        enum cost_class class = (enum cost_class) n->fn->cost;
        bool ambiguous = (n->overloads & (n->overloads - 1)) != 0 &&
                         (class == COST_TO_STRING || class == COST_TO_BYTES || class == COST_COMPARE ||
                          class == COST_ADD || class == COST_IN);

        switch (ambiguous ? COST_ONE : class) {
        case COST_TO_STRING:
                return v[0].kind == CEL_BYTES ? scale(v[0].n, TRAVERSE) : 1;
        case COST_TO_BYTES:
                return v[0].kind == CEL_STRING ? scale(value_size(&v[0]), TRAVERSE) : 1;
        case COST_TARGET:
        case COST_ARGUMENT:
        case COST_RESIZE:
        case COST_QUOTE:
        case COST_FORMAT:
        case COST_CONVERT:
                return v[0].kind == CEL_OPAQUE ? 1 : scale(value_size(&v[0]), TRAVERSE);
        case COST_TWICE:
        case COST_REPLACE:
        case COST_SPLIT:
                return scale(value_size(&v[0]), 2 * TRAVERSE);
        case COST_JOIN:
                return scale(value_size(result), 2 * TRAVERSE);
        case COST_COMPARE:
                if (v[0].kind == CEL_OPAQUE)
                        return 1;
                return scale(MIN(value_size(&v[0]), value_size(&v[1])), TRAVERSE);
        case COST_ADD:
                return add_cost(v);
        case COST_IN:
                return v[1].kind == CEL_LIST ? (is_set(n->args[1]) ? 0 : v[1].n) : 1;
        case COST_CONTAINS:
                return mul(scale(value_size(&v[0]), TRAVERSE), scale(value_size(&v[1]), TRAVERSE));
        case COST_MATCHES:
                return n->member ? matching(v) : 1;
        case COST_FIND:
                return matching(v);
        case COST_LIST: {
                size_t steps = 0;

                return traversal(c, &v[0], &steps);
        }
        case COST_CHECK:
                return 350000;
        case COST_SELECTOR: {
                uint64_t size = value_size(&v[1]);

                return 10 + scale(size, TRAVERSE) + scale(scale(size, 0.5), 50);
        }
        case COST_VALIDATE:
                return !is_opaque(&v[0], 'F') ? 1
                                              : mul(scale(1 + value_size(&v[1]), TRAVERSE),
                                                    scale(format_regex_size(&v[0]), REGEX));
        case COST_CONTAINS_IP:
        case COST_CONTAINS_CIDR:
                return cidr_cost(n, v);
        default: /* COST_ONE, COST_DYN, COST_INDEX; COST_SETS has paid for the pairs itself */
                return 1;
        }
}

/* ---- the estimate ---- */

struct estimate {
        struct range cost, size;
        bool sized;                  /* size is known from the expression or a declaration */
        const struct cel_type *decl; /* of the data */
        bool lost;                   /* data that is not declared; else without decl: made by the expression */
        struct range item, key;      /* sizes of the entries of a list or map made here */
        bool items;
};

struct coster {
        const struct cel_program *p;
        struct estimate *locals;
};

static struct range size_of(const struct estimate *e) {
        return e->sized ? e->size : unknown;
}

static bool scalar(const struct cel_type *t) {
        while (t->kind == CEL_OPTIONAL)
                t = t->params[0];
        return t->kind == CEL_BOOL || t->kind == CEL_INT || t->kind == CEL_UINT || t->kind == CEL_DOUBLE ||
               t->kind == CEL_DURATION || t->kind == CEL_TIMESTAMP;
}

/* What the declaration of the data says, else what the type says. */
static void set_size(struct estimate *e, const struct cel_type *type) {
        if (e->sized)
                return;
        if (e->decl && e->decl->declared) {
                e->size = (struct range) { 0, e->decl->max_size };
                e->sized = true;
        } else if (scalar(type)) {
                e->size = one;
                e->sized = true;
        }
}

/* Those of both. */
static void set_entries(struct estimate *e, const struct estimate *a, const struct estimate *b) {
        e->items = a->items && b->items;
        e->item = either(a->item, b->item);
        e->key = either(a->key, b->key);
}

static struct range declared_size(const struct cel_type *t) {
        return t && t->declared ? (struct range) { 0, t->max_size } : unknown;
}

static const struct cel_type *entry_decl(const struct cel_type *t, bool key) {
        if (!t || (t->kind != CEL_LIST && t->kind != CEL_MAP))
                return NULL;
        return t->params[t->kind == CEL_MAP && !key ? 1 : 0];
}

static struct estimate estimate(struct coster *c, const struct node *n);

/* cel-go takes the first step into a value that an expression has made for the variable itself. */
static const struct cel_type *first_step(const struct coster *c) {
        return c->p->n_variables > 0 ? c->p->variables[0].type : NULL;
}

static void step_into(const struct coster *c, const struct cel_type *decl, bool lost, const struct cel_type *below,
                      const struct cel_type **ret_decl, bool *ret_lost) {
        *ret_decl = decl || lost ? below : first_step(c);
        *ret_lost = !*ret_decl;
}

static struct range string_size(struct range old, struct range with, struct range s) {
        struct range count = { 0, 0 }, kept = { 0, 0 };

        if (old.min == 0) {
                count.max = add(s.max, 1);
                kept.max = s.max;
        } else if (with.max <= old.min) {
                kept.max = s.max;
        } else {
                count.max = s.max == MANY ? MANY : (uint64_t) ceil((double) s.max / (double) old.min);
        }
        if (old.max == 0) {
                count.min = add(s.min, 1);
                kept.min = s.min;
        } else if (old.max <= with.min) {
                kept.min = s.min;
        } else {
                count.min = (uint64_t) ceil((double) s.min / (double) old.max);
        }
        return sum(product(count, with), kept);
}

static struct range join_size(const struct node *n, const struct estimate *e) {
        struct range list = size_of(&e[0]), s = { 0, 0 };

        if (n->args[0]->type->kind == CEL_LIST)
                s = product(list, declared_size(entry_decl(e[0].decl, false)));
        if (n->n_args > 1)
                s = sum(s, product(size_of(&e[1]),
                                   (struct range) { list.min ? list.min - 1 : 0, list.max ? list.max - 1 : 0 }));
        return s;
}

static struct range compare_estimate(const struct node *n, char takes, const struct estimate *e, struct range s,
                                     struct range t) {
        const struct cel_type *type = n->args[0]->type;

        if (n->name.p[1] == '=' && type->kind == CEL_OPAQUE && type == n->args[1]->type) {
                if (type == opaque_type('F'))
                        return scaled((struct range) { 1, 64 }, TRAVERSE);
                return type == opaque_type('U') && e[1].sized ? scaled((struct range) { 1, t.max }, TRAVERSE) : one;
        }
        if (takes != 'A' && takes != 's' && takes != 'y')
                return one;
        t.max = MIN(s.max, t.max);
        return scaled((struct range) { t.max > 0, t.max }, TRAVERSE);
}

/* The call itself, without its arguments, by one of its signatures; sets the size of the result where it is known. */
static struct range call_estimate(const struct coster *c, const struct node *n, const char *signature,
                                  const struct estimate *e, struct estimate *r) {
        char takes = *signature;
        struct range s = n->n_args > 0 ? size_of(&e[0]) : unknown, t = n->n_args > 1 ? size_of(&e[1]) : unknown, cost;
        const struct cel_type *elem;

        switch ((enum cost_class) n->fn->cost) {
        case COST_RESIZE:
        case COST_TARGET:
                r->size = s;
                r->sized = true;
                return scaled(s, TRAVERSE);
        case COST_ARGUMENT:
                return scaled(t, TRAVERSE);
        case COST_TO_BYTES:
        case COST_TO_STRING:
                if (takes != (n->fn->cost == COST_TO_BYTES ? 's' : 'y'))
                        return one;
                r->size = n->fn->cost == COST_TO_BYTES ? (struct range) { s.min, mul(s.max, 4) }
                                                       : (struct range) { s.min / 4, s.max };
                r->sized = true;
                return scaled(s, TRAVERSE);
        case COST_QUOTE:
                r->size = (struct range) { add(s.min, 2), s.max * 2 + 2 }; /* of MANY it is 0 upstream too */
                r->sized = true;
                return scaled(s, TRAVERSE);
        case COST_FORMAT:
                return scaled(s, TRAVERSE);
        case COST_REPLACE:
                r->size = string_size(t, n->n_args > 2 ? size_of(&e[2]) : unknown, s);
                r->sized = true;
                return scaled(s, 2 * TRAVERSE);
        case COST_SPLIT:
                r->size = (struct range) { 0, s.max };
                if (n->n_args > 2 && n->args[2]->kind == NODE_CONST)
                        r->size.max = (uint64_t) n->args[2]->value.i;
                r->sized = true;
                return scaled(s, 2 * TRAVERSE);
        case COST_JOIN:
                r->size = join_size(n, e);
                r->sized = true;
                return scaled(r->size, TRAVERSE);
        case COST_COMPARE:
                return compare_estimate(n, takes, e, s, t);
        case COST_ADD:
                if (takes != 's' && takes != 'y' && takes != 'L')
                        return one;
                r->size = sum(s, t);
                r->sized = true;
                set_entries(r, &e[0], &e[1]);
                return takes == 'L' ? one : scaled(r->size, TRAVERSE);
        case COST_IN:
                return signature[1] == 'M' ? one : t;
        case COST_CONTAINS:
                return product(scaled(s, TRAVERSE), scaled(t, TRAVERSE));
        case COST_FIND:
                r->size = (struct range) { 0, s.max };
                r->sized = true;
                return product(scaled(sum(s, one), TRAVERSE), scaled(t, REGEX));
        case COST_MATCHES:
                return n->member ? product(scaled(sum(s, one), TRAVERSE), scaled(t, REGEX)) : one;
        case COST_LIST:
                if (n->args[0]->type->kind != CEL_LIST)
                        return scaled(s, TRAVERSE);
                elem = n->args[0]->type->params[0];
                cost = one;
                if (elem->kind == CEL_STRING || elem->kind == CEL_BYTES)
                        cost = sum(cost, scaled(declared_size(entry_decl(e[0].decl, false)), TRAVERSE));
                return product(s, cost);
        case COST_CHECK:
                return (struct range) { 350000, 350000 };
        case COST_SELECTOR:
                cost = sum(scaled(t, TRAVERSE), scaled(scaled(t, 0.5), 50));
                return sum((struct range) { 10, 10 }, cost);
        case COST_VALIDATE:
                return scaled(scaled(t, TRAVERSE), 128 * REGEX);
        case COST_CONTAINS_IP:
        case COST_CONTAINS_CIDR:
                cost = (struct range) { 1, 4 };
                if (n->fn->cost == COST_CONTAINS_CIDR)
                        cost = sum(cost, (struct range) { 2, 3 });
                return n->args[1]->type->kind == CEL_STRING ? sum(cost, scaled(t, TRAVERSE)) : cost;
        case COST_SETS:
                return sum(scaled(product(s, t), n->name.p[5] == 'e' ? 2 : 1), one);
        case COST_DYN:
                r->size = e[0].size;
                r->sized = e[0].sized;
                set_entries(r, &e[0], &e[0]);
                return one;
        case COST_INDEX:
                if (n->name.p[2] == '?' || n->args[0]->type->kind == CEL_OPTIONAL)
                        return one;
                step_into(c, e[0].decl, e[0].lost, entry_decl(e[0].decl, false), &r->decl, &r->lost);
                if (e[0].items) {
                        r->size = e[0].item;
                        r->sized = true;
                }
                return one;
        case COST_CONVERT:
                return takes == 's' ? scaled(s, TRAVERSE) : one;
        case COST_TWICE:
                return scaled(s, 2 * TRAVERSE);
        default: /* COST_ONE */
                return one;
        }
}

static struct estimate estimate_call(struct coster *c, const struct node *n) {
        struct estimate r = { 0 }, e[4] = { 0 };
        struct range args = { 0, 0 }, call = { MANY, 0 };
        const char *signature = n->fn->signatures;

        for (size_t i = 0; i < n->n_args && i < ARRAY_SIZE(e); i++) {
                e[i] = estimate(c, n->args[i]);
                args = sum(args, e[i].cost);
        }
        for (uint32_t bits = n->overloads; bits; bits >>= 1) {
                if (bits & 1)
                        call = either(call, call_estimate(c, n, signature, e, &r));
                signature = bits > 1 ? strchr(signature, '|') + 1 : NULL;
        }
        r.cost = sum(args, call);
        return r;
}

static struct estimate estimate_select(struct coster *c, const struct node *n) {
        struct estimate of = estimate(c, n->args[0]), r = { .cost = of.cost };
        const struct cel_type *t = n->args[0]->type;

        if (n->test) {
                r.size = one;
                r.sized = true;
                return r;
        }
        if (n->optional || t->kind == CEL_MAP || t->kind == CEL_OBJECT)
                r.cost = sum(r.cost, one);
        if (n->optional)
                return r;
        const struct cel_field *f = of.decl && of.decl->kind == CEL_OBJECT && !cel_reserved(n->name)
                                                    ? type_field(of.decl, n->name)
                                                    : NULL;
        step_into(c, of.decl, of.lost, f ? f->type : NULL, &r.decl, &r.lost);
        return r;
}

static struct estimate estimate_aggregate(struct coster *c, const struct node *n) {
        bool map = n->kind == NODE_MAP;
        struct estimate r = { .size = { n->n_args / (map ? 2 : 1), n->n_args / (map ? 2 : 1) },
                              .sized = true,
                              .items = true };

        r.item = n->n_args > 0 ? (struct range) { MANY, 0 } : (struct range) { 0, 0 };
        r.key = map ? r.item : one;
        r.cost = map ? (struct range) { 30, 30 } : (struct range) { 10, 10 };
        for (size_t i = 0; i < n->n_args; i++) {
                struct estimate e = estimate(c, n->args[i]);

                r.cost = sum(r.cost, e.cost);
                if (!map || i % 2 == 1)
                        r.item = either(r.item, size_of(&e));
                else
                        r.key = either(r.key, size_of(&e));
        }
        return r;
}

static struct estimate estimate_fold(struct coster *c, const struct node *n) {
        struct estimate range = estimate(c, n->args[0]), init = estimate(c, n->args[1]), cond, step, result, r = { 0 };
        bool list = n->args[0]->type->kind == CEL_LIST, two = n->name2.n > 0;
        struct estimate *l = &c->locals[n->slot];

        l[2] = init;
        l[0] = l[1] = (struct estimate) { 0 };
        step_into(c, range.decl, range.lost, list && two ? NULL : entry_decl(range.decl, true), &l[0].decl, &l[0].lost);
        step_into(c, range.decl, range.lost, entry_decl(range.decl, false), &l[1].decl, &l[1].lost);
        if (range.items) {
                l[0].size = list && !two ? range.item : range.key;
                l[1].size = range.item;
                l[0].sized = l[1].sized = true;
        }
        if (n->args[0]->kind == NODE_LIST && n->args[0]->n_args == 0 && n->args[2]->kind == NODE_CONST &&
            !n->args[2]->value.b) { /* a variable for one expression */
                r = estimate(c, n->args[4]);
                r.cost = sum(r.cost, n->again ? init.cost : sum(range.cost, init.cost));
                return r;
        }
        cond = estimate(c, n->args[2]);
        step = estimate(c, n->args[3]);
        result = estimate(c, n->args[4]);
        r.cost = sum(sum(range.cost, init.cost), result.cost);
        r.cost = sum(r.cost, product(size_of(&range), sum(step.cost, cond.cost)));
        r.sized = true;
        if (n->args[1]->kind == NODE_CONST) {
                r.size = init.size;
                r.sized = init.sized;
        } else {
                r.size = size_of(&range);
                set_entries(&r, &step, &step);
        }
        return r;
}

static struct estimate estimate_logic(struct coster *c, const struct node *n) {
        struct estimate r = { .size = one, .sized = true };

        for (size_t i = 0; i < n->n_args; i++) {
                struct estimate e = estimate(c, n->args[i]);

                r.cost.min = i == 0 ? e.cost.min : r.cost.min;
                r.cost.max = add(r.cost.max, e.cost.max);
        }
        return r;
}

static struct estimate estimate_cond(struct coster *c, const struct node *n) {
        struct estimate cond = estimate(c, n->args[0]), yes = estimate(c, n->args[1]), no = estimate(c, n->args[2]),
                        r = { 0 };

        r.cost = sum(cond.cost, either(yes.cost, no.cost));
        r.size = either(size_of(&yes), size_of(&no));
        r.sized = true;
        set_entries(&r, &yes, &no);
        return r;
}

static struct estimate estimate_leaf(struct coster *c, const struct node *n) {
        struct estimate r = { 0 };

        if (n->kind == NODE_CONST) {
                uint64_t size = value_size(&n->value);

                r.size = (struct range) { size, size };
                r.sized = true;
                if (n->value.kind == CEL_TYPE) { /* a name, there */
                        r.cost = one;
                        r.size = declared_size(first_step(c));
                }
                return r;
        }
        r.cost = one;
        if (n->slot >= 0) {
                r.decl = n->type;
                return r;
        }
        if (n->again)
                r.cost = n->member ? c->locals[~n->slot].cost : (struct range) { 0, 0 };
        r.decl = c->locals[~n->slot].decl;
        r.lost = c->locals[~n->slot].lost;
        set_entries(&r, &c->locals[~n->slot], &c->locals[~n->slot]);
        set_size(&r, &cel_dyn);
        if (!r.sized) {
                r.size = c->locals[~n->slot].size;
                r.sized = c->locals[~n->slot].sized;
        }
        return r;
}

static struct estimate estimate(struct coster *c, const struct node *n) {
        struct estimate r = { 0 };

        switch ((enum node_kind) n->kind) {
        case NODE_CONST:
        case NODE_IDENT:
                r = estimate_leaf(c, n);
                break;
        case NODE_SELECT:
                r = estimate_select(c, n);
                break;
        case NODE_CALL:
                r = estimate_call(c, n);
                break;
        case NODE_AND:
        case NODE_OR:
                r = estimate_logic(c, n);
                break;
        case NODE_COND:
                r = estimate_cond(c, n);
                break;
        case NODE_LIST:
        case NODE_MAP:
                r = estimate_aggregate(c, n);
                break;
        case NODE_FOLD:
                r = estimate_fold(c, n);
                break;
        case NODE_STRUCT:
                r.cost = (struct range) { 40, 40 };
                for (size_t i = 1; i < n->n_args; i += 2)
                        r.cost = sum(r.cost, estimate(c, n->args[i]).cost);
                break;
        }
        if (r.decl && r.decl->kind == CEL_OPTIONAL)
                r.decl = r.decl->params[0];
        set_size(&r, n->type);
        return r;
}

void cel_estimate(struct cel_program *p) {
        struct coster c = { p, arena_array(p->arena, struct estimate, p->n_locals) };
        struct estimate e = estimate(&c, p->root);

        p->cost_min = e.cost.min;
        p->cost_max = e.cost.max;
}
