/* Any text as YAML: what parses must come back equal from the YAML and from the JSON that we print of it. */
#include <stdlib.h>

#include "json/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok) {
        if (!ok)
                abort();
}

/* Aliases make trees that print long: only what stays small is printed. */
static bool is_small(const struct json *j, size_t *left) {
        if (*left == 0)
                return false;
        --*left;
        json_each_item(it, j)
                if (!is_small(it, left))
                        return false;
        json_each_member(m, j)
                if (!is_small(&m->value, left))
                        return false;
        return true;
}

/* What upstream does not read as it prints it either: line breaks other than \n, and << as a plain key. */
static bool is_one_way(struct str s) {
        return str_find(s, '\r') >= 0 || str_search(s, STR("\xc2\x85")) >= 0 || str_search(s, STR("\xe2\x80")) >= 0 ||
               str_search(s, STR("\xef\xbb\xbf")) >= 0 || str_eq(s, STR("<<"));
}

static bool has_one_way(const struct json *j) {
        if (j->type == JSON_STRING)
                return is_one_way(json_str(j));
        json_each_item(it, j)
                if (has_one_way(it))
                        return true;
        json_each_member(m, j)
                if (is_one_way(json_key(m)) || has_one_way(&m->value))
                        return true;
        return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct str text = { (const char *) data, size };
        struct arena *a = arena_new(0);
        struct json_duplicates d = { .arena = a };
        struct error err = ERROR_INIT;
        struct buf b = BUF_INIT, c = BUF_INIT;
        struct json *j, *k;
        size_t left = 2000;

        if (yaml_parse(a, text, &d, &j, &err) == 0 && is_small(j, &left)) {
                json_write(&b, j);
                check(json_parse(a, buf_str(&b), NULL, &k, NULL) == 0);
                check(json_equal(j, k));
                yaml_write(&c, j);
                if (!has_one_way(j)) {
                        check(yaml_parse(a, buf_str(&c), NULL, &k, NULL) == 0);
                        check(json_equal(j, k));
                }
        }
        error_clear(&err);
        yaml_parse_all(a, text, &j, &err);
        error_clear(&err);
        buf_free(&b);
        buf_free(&c);
        arena_free(a);
        return 0;
}
