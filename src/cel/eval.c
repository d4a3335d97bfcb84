/* The evaluator walks the checked tree. An error is a value: && and || go on past it when the other side decides. Each
 * step is paid for as cel-go counts it; when the limit is reached every node returns at once. */
#include <ctype.h>

#include "base/time.h"
#include "cel/internal.h"

#define MAX_NS (1000 * NSEC_PER_MSEC) /* of one evaluation: what costs little on paper may take long on big data */

static struct cel_value eval(struct ctx *c, const struct node *n);

static inline void pay(struct ctx *c, uint64_t cost) {
        c->cost += cost;
        if (__builtin_expect(c->cost > c->limit || c->cost < cost, 0))
                c->cancelled = true;
}

/* What an optional holds, where cel-go takes it out to look into it: that forgets how the data was declared. */
static struct cel_value plain(struct ctx *c, const struct cel_value *v) {
        bool data = v->form == CEL_JSON && (v->kind == CEL_LIST || v->kind == CEL_MAP || v->kind == CEL_OBJECT);

        return data && v->type ? cel_of_json(c->a, v->json, NULL) : *v;
}

static struct cel_value eval_ident(struct ctx *c, const struct node *n) {
        const struct cel_value *v = n->slot < 0 ? &c->locals[~n->slot] : &c->variables[n->slot];

        pay(c, !n->again ? 1 : n->member ? c->locals[~n->slot - 1].u : 0);
        if (v->kind != CEL_OPTIONAL || !v->value || n->again)
                return *v;
        struct cel_value inner = plain(c, v->value);
        return cel_of_optional(c->a, &inner);
}

/* A branch of ?: and an index: cel-go takes nothing for the variable that begins a path there. */
static struct cel_value eval_part(struct ctx *c, const struct node *n) {
        struct cel_value v = eval(c, n);

        c->cost -= is_path(n);
        return v;
}

/* An optional operand is looked into: 1 with *v what is in it, 0 when there is nothing. */
static int unwrap(struct cel_value *v, bool *was_optional) {
        *was_optional = v->kind == CEL_OPTIONAL;
        if (!*was_optional)
                return 1;
        if (!v->value)
                return 0;
        *v = *v->value;
        return 1;
}

/* Is it something that cel-go resolves with what is selected from it? */
static bool is_step(const struct node *n) {
        return n->kind == NODE_IDENT || n->kind == NODE_SELECT || n->kind == NODE_COND ||
               (n->kind == NODE_CALL && n->fn->cost == COST_INDEX);
}

static struct cel_value eval_select(struct ctx *c, const struct node *n) {
        struct cel_value v = eval(c, n->args[0]), ret;
        bool optional;

        if (!n->test && !n->chained)
                pay(c, 1);
        if (v.kind == CEL_ERROR) {
                c->cost -= n->test && n->chained; /* has() itself, for which the variable was paid */
                return v;
        }
        if (!unwrap(&v, &optional)) {
                c->cost -= n->test && n->chained;
                return n->test ? cel_of_bool(false) : v;
        }
        if (optional && !is_step(n->args[0]))
                v = plain(c, &v);
        pay(c, n->test && !is_step(n->args[0]));
        if (n->optional && v.kind == CEL_NULL)
                return cel_of_optional(c->a, NULL);
        optional = optional || n->optional;
        int r = value_select(c, &v, n->name, n->test || optional, &ret);
        c->cost -= r == 0 && n->test && optional && n->chained;
        if (!n->test && (r != 0 || !optional))
                pay(c, 1);
        if (r < 0)
                return ret;
        if (n->test)
                return cel_of_bool(r > 0);
        return optional ? cel_of_optional(c->a, r > 0 ? &ret : NULL) : ret;
}

/* Is the value of that type? Of a list the first item tells. */
static bool is_of(struct ctx *c, const struct cel_type *t, const struct cel_value *v) {
        if (t->kind == CEL_DYN || (t->kind == CEL_MAP && v->kind == CEL_OBJECT))
                return true;
        if ((uint8_t) t->kind != v->kind || (t->kind == CEL_OPAQUE && t != v->type))
                return false;
        if (t->kind != CEL_LIST || v->n == 0 || t->params[0]->kind == CEL_DYN)
                return true;
        struct cel_value first = list_get(c->a, v, 0);
        return is_of(c, t->params[0], &first);
}

/* Does the value of an argument fit where a signature wants that type? */
static bool fits(struct ctx *c, const char **sig, const struct cel_value *v) {
        static const struct cel_type *const vars[2] = { &cel_dyn, &cel_dyn };

        return is_of(c, signature_type(c->a, sig, vars), v);
}

static bool find_overload(struct ctx *c, const struct node *n, const struct cel_value *args) {
        const char *sig = n->fn->signatures;

        for (uint32_t bit = 1; sig; bit <<= 1) {
                size_t i = 0;
                bool ok = n->overloads & bit;

                for (const char *p = sig; ok && i < n->n_args; i++) {
                        p += *p == '.';
                        ok = *p != '>' && fits(c, &p, &args[i]);
                }
                if (ok)
                        return true;
                sig = strchr(sig, '|');
                sig = sig ? sig + 1 : NULL;
        }
        return false;
}

static bool args_fit(struct ctx *c, const struct node *n, const struct cel_value *args) {
        if (!n->exact)
                return find_overload(c, n, args);
        for (size_t i = 0; i < n->n_args; i++)
                if (n->kinds[i] != CEL_DYN && n->kinds[i] != args[i].kind &&
                    !(n->kinds[i] == CEL_MAP && args[i].kind == CEL_OBJECT))
                        return false;
        return true;
}

/* Can any signature begin with such a value? */
static bool may_begin(struct ctx *c, const struct node *n, const struct cel_value *v) {
        for (const char *sig = n->fn->signatures, *p; sig; sig = strchr(sig, '|') ? strchr(sig, '|') + 1 : NULL) {
                p = sig;
                if (fits(c, &p, v))
                        return true;
        }
        return v->kind == CEL_STRING || n->name.p[0] == '!' || n->name.p[0] == '@' ||
               (n->name.p[0] == '-' && v->kind == CEL_BOOL);
}

/* What cel-go says depends on how it has bound the function: to what the first value can do, to one implementation, or
 * to one for each signature. */
static struct cel_value no_overload_for(struct ctx *c, const struct node *n, const struct cel_value *args) {
        static const char *const as_one[] = {
                "startsWith", "endsWith", "contains", "matches", "find", "findAll", NULL
        };
        bool by_value = !isalpha((unsigned char) n->fn->name[0]) || str_eqc(n->name, "size");
        _cleanup_buf_ struct buf b = BUF_INIT;

        if (str_among(n->name, as_one) || (by_value && may_begin(c, n, &args[0])))
                return value_no_overload(c);
        for (size_t i = 0; i < n->n_args && !by_value; i++)
                buf_printf(&b, "%s%" STR_FMT "%s", i ? ", " : "(", STR_ARG(type_name(c->a, value_type_of(&args[i]))),
                           i + 1 < n->n_args ? "" : ")");
        return value_error(c, "no such overload: %s%" STR_FMT, n->fn->name, STR_ARG(buf_str(&b)));
}

/* accumulator + [x] and @mapInsert: the accumulator of a macro is nobody else's, and grows in place. */
static struct cel_value append(struct ctx *c, const struct node *n) {
        const struct node *one = n->args[1]; /* a list, or a constant by now */
        struct cel_value list = eval(c, n->args[0]), item, *more;

        pay(c, one->kind == NODE_CONST ? 1 : 10 + 1);
        item = one->kind == NODE_CONST ? one->value.items[0] : eval(c, one->args[0]);
        if (list.kind == CEL_ERROR || item.kind == CEL_ERROR)
                return list.kind == CEL_ERROR ? list : item;
        if ((list.n & (list.n - 1)) == 0) { /* full at each power of two */
                more = arena_alloc(c->a, MAX(2 * list.n, 1u) * sizeof(*more));
                if (list.n > 0)
                        memcpy(more, list.items, list.n * sizeof(*more));
                list.items = more;
        }
        ((struct cel_value *) list.items)[list.n++] = item;
        return list;
}

static struct cel_value insert(struct ctx *c, const struct node *n) {
        struct cel_value map = eval(c, n->args[0]), key, value;
        struct cel_value from = map.kind == CEL_ERROR && n->n_args == 3 ? map : eval(c, n->args[1]);
        size_t count = 1;

        if (map.kind == CEL_ERROR || from.kind == CEL_ERROR) {
                pay(c, n->n_args == 2);
                return map.kind == CEL_ERROR ? map : from;
        }
        if (n->n_args == 3) {
                key = from;
                value = eval(c, n->args[2]);
                if (value.kind == CEL_ERROR) {
                        pay(c, 1);
                        return value;
                }
        } else {
                if (from.kind != CEL_MAP)
                        return value_no_overload(c);
                count = cel_map_size(&from);
        }
        pay(c, 1);
        for (size_t i = 0; i < count; i++) {
                if (n->n_args == 2)
                        cel_map_entry(c, &from, i, &key, &value);
                if (!cel_map_insert(c, &map, &key, &value)) {
                        _cleanup_buf_ struct buf b = BUF_INIT;

                        value_print(&b, c, &key);
                        return value_error(c, "insert failed: key %" STR_FMT " already exists", STR_ARG(buf_str(&b)));
                }
        }
        return map;
}

/* a.or(b), a.orValue(b): b only where a has nothing. Neither has a cost of its own. */
static struct cel_value eval_or_value(struct ctx *c, const struct node *n) {
        struct cel_value v = eval(c, n->args[0]);

        if (v.kind != CEL_OPTIONAL)
                return v; /* and not looked into */
        if (!v.value)
                return eval(c, n->args[1]);
        return str_eqc(n->name, "or") ? v : *v.value;
}

static struct cel_value eval_call(struct ctx *c, const struct node *n) {
        struct cel_value args[4], ret, *failed = NULL;
        const struct node *outer = c->call;
        bool index = n->fn->cost == COST_INDEX;
        bool lenient = n->fn->cost == COST_ONE && n->name.p[0] == '@' && !str_eqc(n->name, "@in");

        if (n->append)
                return n->name.p[0] == '_' ? append(c, n) : insert(c, n);
        if (!n->fn->impl)
                return eval_or_value(c, n);
        for (size_t i = 0; i < n->n_args && i < ARRAY_SIZE(args); i++) {
                args[i] = i == 1 && index ? eval_part(c, n->args[i]) : eval(c, n->args[i]);
                if (args[i].kind == CEL_ERROR && !lenient)
                        failed = failed ? failed : &args[i];
                if (failed && (index || (n->n_args > 2 && i + 1 < n->n_args))) { /* the rest is not looked at */
                        pay(c, index ? i + !n->chained : 0);
                        return *failed;
                }
        }
        if (c->cancelled)
                return value_null;
        if (failed) {
                ret = *failed;
        } else if (!lenient && !index && !args_fit(c, n, args)) { /* an index may be any whole number */
                ret = no_overload_for(c, n, args);
        } else {
                c->call = n;
                ret = n->fn->impl(c, args, n->n_args);
                c->call = outer;
        }
        pay(c, n->fn->cost == COST_ONE ? 1 : call_cost(c, n, args, &ret));
        if (index && !n->chained)
                pay(c, 1);
        if (index && ret.kind == CEL_OPTIONAL && !ret.value && (n->name.p[2] == '?' || args[0].kind == CEL_OPTIONAL))
                c->cost--; /* nothing was there */
        return ret;
}

/* Goes on past errors while another term may decide. */
static struct cel_value eval_logic(struct ctx *c, const struct node *n) {
        bool decides = n->kind == NODE_OR;
        struct cel_value error = { .kind = CEL_NULL };

        for (size_t i = 0; i < n->n_args && !c->cancelled; i++) {
                struct cel_value v = eval(c, n->args[i]);

                if (v.kind == CEL_BOOL && v.b == decides)
                        return v;
                if (v.kind != CEL_BOOL && error.kind == CEL_NULL)
                        error = v.kind == CEL_ERROR ? v : value_no_overload(c);
        }
        return error.kind == CEL_ERROR ? error : cel_of_bool(!decides);
}

static struct cel_value eval_cond(struct ctx *c, const struct node *n) {
        struct cel_value v = eval(c, n->args[0]);

        if (v.kind != CEL_BOOL)
                return v.kind == CEL_ERROR ? v : value_no_overload(c);
        return eval_part(c, n->args[v.b ? 1 : 2]);
}

/* The value of an entry: -1 an error in *ret, 0 left out, 1. */
static int eval_entry(struct ctx *c, const struct node *n, struct cel_value *ret) {
        *ret = eval(c, n);
        if (ret->kind == CEL_ERROR)
                return -1;
        if (!n->maybe)
                return 1;
        if (ret->kind != CEL_OPTIONAL) {
                *ret = value_error(c, "cannot initialize optional list element from non-optional value");
                return -1;
        }
        if (!ret->value)
                return 0;
        *ret = *ret->value;
        return 1;
}

static struct cel_value eval_list(struct ctx *c, const struct node *n) {
        struct cel_value *items = arena_alloc(c->a, MAX(n->n_args, 1u) * sizeof(*items)), v;
        size_t count = 0;

        pay(c, n->append ? 0 : 10);
        for (size_t i = 0; i < n->n_args; i++) {
                int r = eval_entry(c, n->args[i], &v);
                if (r < 0)
                        return v;
                if (r > 0)
                        items[count++] = v;
        }
        return value_list(items, count);
}

static struct cel_value eval_map(struct ctx *c, const struct node *n) {
        struct cel_value map = cel_map_new(c->a, n->n_args / 2), key, value;

        pay(c, n->append ? 0 : 30);
        for (size_t i = 0; i < n->n_args; i += 2) {
                key = eval(c, n->args[i]);
                if (key.kind == CEL_ERROR)
                        return key;
                int r = eval_entry(c, n->args[i + 1], &value);
                if (r < 0)
                        return value;
                if (r > 0)
                        cel_map_set(c, &map, &key, &value);
        }
        return map;
}

static struct cel_value eval_struct(struct ctx *c, const struct node *n) {
        const struct message *m = message_find(n->name.p[0] == '.' ? str_sub(n->name, 1, n->name.n) : n->name);
        struct cel_value values[ARRAY_SIZE(m->fields)] = { 0 };
        size_t last = 0;

        pay(c, 40);
        for (size_t i = 0; i < n->n_args; i += 2) {
                size_t at = m ? (size_t) (message_field(m, cel_str(&n->args[i]->value)) - m->fields) : 0;
                struct cel_value v = eval(c, n->args[i + 1]);

                if (n->args[i + 1]->maybe && v.kind != CEL_OPTIONAL && v.kind != CEL_ERROR) {
                        _cleanup_buf_ struct buf b = BUF_INIT;

                        value_print(&b, c, &v);
                        v = value_error(c,
                                        "cannot initialize optional entry '%" STR_FMT
                                        "' from non-optional value %" STR_FMT,
                                        STR_ARG(cel_str(&n->args[i]->value)), STR_ARG(buf_str(&b)));
                }
                if (v.kind == CEL_ERROR)
                        return v;
                last = at;
                if (!n->args[i + 1]->maybe)
                        values[at] = v;
                else
                        values[at] = v.value ? *v.value : (struct cel_value) { 0 };
        }
        if (!m)
                return value_error(c, "unknown type '%" STR_FMT "'", STR_ARG(n->name));
        return message_make(c, m, values, last);
}

static void set_iteration(struct ctx *c, const struct node *n, const struct cel_value *range, size_t i) {
        struct cel_value *vars = &c->locals[n->slot];

        if (range->kind == CEL_LIST) {
                vars[n->name2.n > 0 ? 1 : 0] = list_get(c->a, range, i);
                if (n->name2.n > 0)
                        vars[0] = value_int((int64_t) i);
        } else {
                cel_map_entry(c, range, i, &vars[0], n->name2.n > 0 ? &vars[1] : NULL);
        }
}

static struct cel_value not_iterable(struct ctx *c, const struct node *n, const struct cel_value *v) {
        const char *name = value_go_type(v);

        return n->name2.n > 0 ? value_error(c, "unsupported comprehension range type: %s", name)
                              : value_error(c, "got '%s', expected iterable type", name);
}

/* It has run for too long, not counting while others had the processor. */
static bool is_late(struct ctx *c) {
        int64_t now = c->until ? now_mono_ns() : 0, used;

        if (now <= c->until)
                return false;
        used = now_thread_ns() - c->begun;
        c->until = now + MAX_NS - used;
        return used > MAX_NS;
}

static struct cel_value eval_fold(struct ctx *c, const struct node *n) {
        struct cel_value range = eval(c, n->args[0]), *accu = &c->locals[n->slot + 2], cond, start;

        if (range.kind == CEL_ERROR)
                return range;
        if (range.kind != CEL_LIST && range.kind != CEL_MAP && (range.kind != CEL_OBJECT || range.form == CEL_LAZY))
                return not_iterable(c, n, &range);
        uint64_t before = c->cost;
        start = eval(c, n->args[1]); /* may have a fold of its own, in the same locals */
        *accu = start;
        accu[-1].u = c->cost - before;
        size_t count = range.kind == CEL_LIST ? range.n : cel_map_size(&range);
        for (size_t i = 0; i < count && !c->cancelled; i++) {
                if (i % 32 == 31 && is_late(c))
                        c->cancelled = c->late = true;
                set_iteration(c, n, &range, i);
                cond = eval(c, n->args[2]);
                if (cond.kind == CEL_BOOL && !cond.b)
                        break;
                start = eval(c, n->args[3]);
                *accu = start;
        }
        return eval(c, n->args[4]);
}

static struct cel_value eval(struct ctx *c, const struct node *n) {
        if (c->cancelled)
                return value_null;
        switch ((enum node_kind) n->kind) {
        case NODE_CONST:
                return n->value;
        case NODE_IDENT:
                return eval_ident(c, n);
        case NODE_SELECT:
                return eval_select(c, n);
        case NODE_CALL:
                return eval_call(c, n);
        case NODE_AND:
        case NODE_OR:
                return eval_logic(c, n);
        case NODE_COND:
                return eval_cond(c, n);
        case NODE_LIST:
                return eval_list(c, n);
        case NODE_MAP:
                return eval_map(c, n);
        case NODE_FOLD:
                return eval_fold(c, n);
        case NODE_STRUCT:
                return eval_struct(c, n);
        }
        return value_no_overload(c);
}

int cel_eval(const struct cel_program *p, const struct cel_value *values, struct cel_run *run, struct cel_value *ret,
             struct error *err) {
        struct cel_value few[24], v;
        struct ctx c = {
                .program = p,
                .variables = values,
                .locals = p->n_locals <= ARRAY_SIZE(few) ? few : arena_array(run->arena, struct cel_value, p->n_locals),
                .run = run,
                .a = run->arena,
                .limit = run->limit ? run->limit : CEL_CALL_LIMIT,
                .begun = p->n_locals > 0 ? now_thread_ns() : 0,
                .until = p->n_locals > 0 ? now_mono_ns() + MAX_NS : 0,
        };

        v = eval(&c, p->root);
        run->cost = c.cost;
        if (c.late)
                return error_set(err, -ETIMEDOUT, "operation interrupted");
        if (c.cancelled)
                return error_set(err, -E2BIG, "operation cancelled: actual cost limit exceeded");
        if (v.kind == CEL_ERROR)
                return error_set(err, -EINVAL, "%" STR_FMT, STR_ARG(cel_str(&v)));
        *ret = v;
        return 0;
}

/* ---- programs ---- */

/* Literals of literals, and conversions of them, are made once. They cost nothing then, as in cel-go; what fails always
 * is no program. */
static void fold_constants(struct ctx *c, struct node *n, struct str *fault) {
        static const char *const conversions[] = { "int",  "uint",  "double",   "bool",      "string",
                                                   "type", "bytes", "duration", "timestamp", "dyn" };
        bool constant = !n->append && (n->kind == NODE_LIST || n->kind == NODE_MAP);

        for (size_t i = 0; i < n->n_args; i++)
                fold_constants(c, n->args[i], fault);
        for (size_t i = 0; n->kind == NODE_CALL && n->n_args == 1 && i < ARRAY_SIZE(conversions); i++)
                constant = constant || str_eqc(n->name, conversions[i]);
        for (size_t i = 0; i < n->n_args; i++)
                constant = constant && n->args[i]->kind == NODE_CONST && !n->args[i]->maybe;
        if (n->kind == NODE_CALL && str_eqc(n->name, "@in") && n->args[1]->kind == NODE_CONST &&
            n->args[1]->value.kind == CEL_LIST && n->args[1]->value.n == 0) { /* nothing is in that */
                n->kind = NODE_CONST;
                n->n_args = 0;
                n->value = cel_of_bool(false);
        }
        if (!constant)
                return;
        c->cost = 0;
        struct cel_value v = eval(c, n);
        if (v.kind == CEL_ERROR && n->kind == NODE_CALL && fault->n == 0)
                *fault = cel_str(&v);
        if (v.kind == CEL_ERROR || c->cancelled)
                return;
        n->kind = NODE_CONST;
        n->n_args = 0;
        n->value = v;
}

int cel_compile(struct str text, const struct cel_variable *variables, size_t n, struct cel_program **ret,
                struct error *err) {
        struct arena *a = arena_new(0);
        struct cel_program *p = arena_new_of(a, struct cel_program);
        struct issues is = { .arena = a };
        struct ctx c = { .program = p, .a = a, .limit = UINT64_MAX };
        int r;

        *p = (struct cel_program) { .arena = a, .text = arena_str(a, text), .variables = variables, .n_variables = n };
        is.source = p->text;
        r = cel_parse(a, p->text, &is, &p->root);
        if (r == 0)
                r = cel_check(p, &is);
        if (r < 0) {
                r = issues_report(&is, err);
                cel_program_free(p);
                return r;
        }
        vec_free(&is.list);
        cel_estimate(p);
        fold_constants(&c, p->root, &is.fault);
        *ret = p;
        if (is.fault.n > 0)
                return error_set(err, -ENOEXEC, "program instantiation failed: %" STR_FMT, STR_ARG(is.fault));
        return 0;
}

void cel_program_free(struct cel_program *p) {
        if (!p)
                return;
        for (size_t i = 0; i < p->n_regexes; i++)
                regex_free(p->regexes[i]->regex);
        arena_free(p->arena);
}

const struct cel_type *cel_program_type(const struct cel_program *p) {
        return p->root->type;
}

bool cel_program_uses(const struct cel_program *p, const char *variable) {
        for (size_t i = 0; i < p->n_variables; i++)
                if (strcmp(p->variables[i].name, variable) == 0)
                        return p->used >> MIN(i, (size_t) 63) & 1;
        return false;
}

static bool selects(const struct node *n, const char *variable, const char *field) {
        if (n->kind == NODE_SELECT && n->args[0]->kind == NODE_IDENT && str_eqc(n->args[0]->name, variable) &&
            str_eqc(n->name, field))
                return true;
        for (size_t i = 0; i < n->n_args; i++)
                if (selects(n->args[i], variable, field))
                        return true;
        return false;
}

bool cel_program_selects(const struct cel_program *p, const char *variable, const char *field) {
        return selects(p->root, variable, field);
}

void cel_program_estimate(const struct cel_program *p, uint64_t *ret_min, uint64_t *ret_max) {
        if (ret_min)
                *ret_min = p->cost_min;
        if (ret_max)
                *ret_max = p->cost_max;
}
