/* How long a custom object of 200 fields takes: completing it (pruning, defaults) and validating it. */
#include <stdio.h>

#include "apiserver/extensions/crd_schema.h"
#include "base/time.h"

#define FIELDS 200
#define ROUNDS 20000

static struct json *parse(struct arena *a, struct buf *text) {
        struct json *j = NULL;

        if (json_parse(a, buf_str(text), NULL, &j, NULL) < 0)
                abort();
        return j;
}

int main(void) {
        static const char *const kinds[] = { "{\"type\":\"string\",\"maxLength\":64,\"pattern\":\"^[a-z]+$\"}",
                                             "{\"type\":\"integer\",\"minimum\":0,\"maximum\":100}",
                                             "{\"type\":\"boolean\",\"default\":true}",
                                             "{\"type\":\"string\",\"enum\":[\"a\",\"b\",\"c\"]}" };
        static const char *const values[] = { "\"abc\"", "7", "false", "\"b\"" };
        struct arena *a = arena_new(0), *scratch = arena_new(1 << 20);
        struct buf schema = BUF_INIT, object = BUF_INIT;
        int64_t complete = 0, validate = 0, t;
        struct crd_schema *s;
        struct json *o;

        buf_addc(&schema, "{\"type\":\"object\",\"properties\":{\"spec\":{\"type\":\"object\",\"properties\":{");
        buf_addc(&object, "{\"apiVersion\":\"a/v1\",\"kind\":\"K\",\"metadata\":{\"name\":\"x\"},\"spec\":{");
        for (int i = 0; i < FIELDS; i++) {
                buf_printf(&schema, "%s\"field%03d\":%s", i ? "," : "", i, kinds[i % 4]);
                buf_printf(&object, "%s\"field%03d\":%s", i ? "," : "", i, values[i % 4]);
        }
        buf_addc(&schema, "}}}}");
        buf_addc(&object, "}}");
        s = crd_schema_compile(a, parse(a, &schema), "K", "a.v1");
        o = parse(a, &object);
        for (int i = 0; i < ROUNDS; i++) {
                struct field_errors fe = { .a = scratch };
                struct json done;

                arena_reset(scratch);
                t = now_mono_ns();
                done = crd_complete(scratch, s, o);
                complete += now_mono_ns() - t;
                t = now_mono_ns();
                crd_validate_value(&fe, NULL, s, &done, NULL);
                validate += now_mono_ns() - t;
                if (fe.list.n > 0)
                        abort();
        }
        printf("an object of %d fields: completed in %.1f us, validated in %.1f us\n", FIELDS,
               (double) complete / ROUNDS / 1e3, (double) validate / ROUNDS / 1e3);
        crd_schema_release(s);
        arena_free(scratch);
        arena_free(a);
        buf_free(&schema);
        buf_free(&object);
        return 0;
}
