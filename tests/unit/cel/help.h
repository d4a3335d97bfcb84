/* Expressions in, text out, for tables of conformance rows. */
#pragma once

#include "../test.h"

#include "cel/cel.h"

/* self and oldSelf of a schema, and x of any type. */
struct cel_world {
        struct arena *a;
        struct cel_variable vars[3];
        struct cel_value values[3];
};

static inline struct json *cel_parse_json(struct arena *a, const char *text) {
        struct json *j;

        if (json_parse(a, str_of(text), NULL, &j, NULL) < 0)
                fail_msg("not JSON: %s", text);
        return j;
}

static inline struct cel_world cel_world(const char *schema, const char *self, const char *old) {
        struct cel_world w = { .a = arena_new(0) };
        const struct cel_type *t = cel_type_of_openapi(w.a, cel_parse_json(w.a, schema), true, STR("selfType"));

        w.vars[0] = (struct cel_variable) { "self", t };
        w.vars[1] = (struct cel_variable) { "oldSelf", t };
        w.vars[2] = (struct cel_variable) { "x", &cel_dyn };
        w.values[0] = cel_of_json(w.a, cel_parse_json(w.a, self), t);
        w.values[1] = cel_of_json(w.a, cel_parse_json(w.a, old), t);
        w.values[2] = cel_of_json(w.a, cel_parse_json(w.a, self), NULL);
        return w;
}

/* The result as JSON, or "error: message". */
static inline const char *cel_answer(struct cel_world *w, const char *text, uint64_t *ret_cost) {
        _cleanup_(cel_program_freep) struct cel_program *p = NULL;
        _cleanup_error_ struct error err = ERROR_INIT;
        struct cel_run run = { .arena = w->a };
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct cel_value v;
        struct json j;

        if (cel_compile(str_of(text), w->vars, 3, &p, &err) < 0 || cel_eval(p, w->values, &run, &v, &err) < 0) {
                if (ret_cost)
                        *ret_cost = run.cost;
                return arena_printf(w->a, "error: %s", error_text(&err)).p;
        }
        if (ret_cost)
                *ret_cost = run.cost;
        j = cel_to_json(w->a, &v);
        json_write(&b, &j);
        return arena_str(w->a, buf_str(&b)).p;
}
