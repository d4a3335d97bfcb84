/* Any text: what parses must come back equal from its own text (from the second time on: as in Go, a double that is
 * printed without a point comes back as an integer), the scanner must stay within bounds and agree with the
 * tree where the text is valid, and an object made of it keeps its index through a revision. */
#include <stdlib.h>

#include "json/object.h"
#include "json/scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok) {
        if (!ok)
                abort();
}

static void check_object(const struct json *tree) {
        struct object *o = object_from_tree(tree), *p = NULL;

        object_set_revision(o, 12345678901ULL);
        check(json_is(object_json(o), JSON_OBJECT));
        check(object_from_text(object_text(o), 0, &p, NULL) == 0);
        check(str_eq(object_name(o), object_name(p)) && str_eq(object_uid(o), object_uid(p)));
        check(str_eq(object_namespace(o), object_namespace(p)));
        object_unref(p);
        object_unref(o);
}

/* The index is made of whatever is there. */
static void check_index(struct str text) {
        const struct object_label *labels;
        const struct object_owner *owners;
        struct object *o = NULL;

        json_tree_size(text);
        if (object_from_text(text, 0, &o, NULL) < 0)
                return;
        for (size_t i = 0, n = object_labels(o, &labels); i < n; i++)
                str_hash(labels[i].key), str_hash(labels[i].value);
        for (size_t i = 0, n = object_owners(o, &owners); i < n; i++)
                str_hash(owners[i].uid);
        str_hash(object_name(o));
        object_unref(o);
}

static void check_scan(struct arena *a, struct str text, const struct json *tree) {
        struct json_scan s;
        size_t n = 0;

        if (!json_scan_open(&s, text))
                return;
        while (json_scan_next(&s)) {
                struct json *v;

                check(json_parse(a, s.value, NULL, &v, NULL) == 0);
                n++;
        }
        check(n >= json_len(tree)); /* duplicates are counted here */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const char *const path[] = { "metadata", "name", NULL };
        struct str text = { (const char *) data, size };
        struct arena *a = arena_new(0);
        struct json_duplicates d = { .arena = a };
        struct json_parse_opts opts = { .duplicates = &d };
        struct error err = ERROR_INIT;
        struct buf b = BUF_INIT, c = BUF_INIT;
        struct json *j, *k, *l;

        json_scan(text, path);
        check_index(text);
        json_unquote(a, text);
        if (json_parse(a, text, &opts, &j, &err) == 0) {
                json_write(&b, j);
                check(json_parse(a, buf_str(&b), NULL, &k, NULL) == 0);
                json_write(&c, k);
                check(json_parse(a, buf_str(&c), NULL, &l, NULL) == 0);
                check(json_equal(k, l));
                check_scan(a, text, j);
                if (j->type == JSON_OBJECT)
                        check_object(j);
        } else
                check(err.message);
        error_clear(&err);
        buf_free(&b);
        buf_free(&c);
        arena_free(a);
        return 0;
}
