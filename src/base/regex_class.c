/* What PCRE2 is here for: it knows Unicode. A class of characters that names properties ([\pL_]) or is blind to case is
 * written as PCRE2 has it, and PCRE2 is asked about one character at a time. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <ctype.h>
#include <pcre2.h>
#include <pthread.h>

#include "base/regex_program.h"
#include "base/utf8.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;

static void free_match_data(void *p) {
        pcre2_match_data_free(p);
}

static void start(void) {
        if (pthread_key_create(&key, free_match_data) != 0)
                abort();
}

/* Where members of the class begin and end in text, from at on. */
static bool find_members(const struct regex_class *class, struct str text, size_t at, size_t **ret_bounds) {
        pthread_once(&once, start);
        pcre2_match_data *m = pthread_getspecific(key);
        if (!m) {
                m = pcre2_match_data_create(1, NULL);
                if (!m || pthread_setspecific(key, m) != 0)
                        abort();
        }
        *ret_bounds = pcre2_get_ovector_pointer(m);
        return pcre2_match(class->unicode, (PCRE2_SPTR) text.p, text.n, at, PCRE2_NO_UTF_CHECK, m, NULL) > 0;
}

bool regex_class_has(const struct regex_class *class, uint32_t c) {
        char text[4];
        size_t *bounds;

        if (class->unicode)
                return find_members(class, str_n(text, (size_t) (utf8_put(text, c) - text)), 0, &bounds);
        for (size_t i = 0; i < class->ranges.n; i++)
                if (c >= class->ranges.v[i].lo && c <= class->ranges.v[i].hi)
                        return !class->negated;
        return class->negated;
}

/* \p{..}: 1, or 0 when there is none of that name. A script is not its extension, and what is in no category is not C.
 * Blind to case, the three cases of letters are one. */
int regex_class_add_property(struct buf *properties, struct str name, bool inverse, bool fold) {
        static const char *const groups[] = { "C", "L", "M", "N", "P", "S", "Z" };
        static const char *const classes[] = { "cfos", "lmotu", "cen", "dlo", "cdefios", "ckmo", "lps" };
        char c = inverse ? 'P' : 'p';
        PCRE2_UCHAR pattern[64];
        int k, n;

        for (size_t i = 0; i < ARRAY_SIZE(groups) && name.n > 0; i++) {
                if (name.p[0] != groups[i][0] || name.n > 2 || (name.n == 2 && !strchr(classes[i], name.p[1])))
                        continue;
                if (str_eqc(name, "C"))
                        buf_addc(properties,
                                 inverse ? "\\pL\\pM\\pN\\pP\\pS\\pZ\\p{Cn}" : "\\p{Cc}\\p{Cf}\\p{Co}\\p{Cs}");
                else if (fold && name.n == 2 && name.p[0] == 'L' && strchr("ltu", name.p[1]))
                        buf_printf(properties, "\\%c{L&}", c);
                else
                        buf_printf(properties, "\\%c{%" STR_FMT "}", c, STR_ARG(name));
                return 1;
        }
        if (str_eqc(name, "Any")) {
                buf_printf(properties, "\\%c{Any}", c);
                return 1;
        }
        for (size_t i = 0; i < name.n; i++)
                if (!isalpha((unsigned char) name.p[i]) && name.p[i] != '_')
                        return 0;
        n = snprintf((char *) pattern, sizeof(pattern), "\\%c{sc:%" STR_FMT "}", c, STR_ARG(name));
        if (name.n < 2 || !isupper((unsigned char) name.p[0]) || (size_t) n >= sizeof(pattern))
                return 0;
        pcre2_code *code = pcre2_compile(pattern, (size_t) n, PCRE2_UTF, &k, &(size_t) { 0 }, NULL);
        buf_add(properties, pattern, code ? (size_t) n : 0);
        pcre2_code_free(code);
        return code ? 1 : 0;
}

void regex_class_finish(struct regex_class *class, struct str properties, bool fold) {
        char ascii[128];
        _cleanup_buf_ struct buf text = BUF_INIT;
        size_t *bounds, at = 0;
        int k;

        if (!fold && properties.n == 0) {
                for (size_t i = 0; i < sizeof(ascii); i++)
                        if (regex_class_has(class, (uint32_t) i))
                                class->ascii[i / 64] |= 1ULL << i % 64;
                return;
        }
        for (size_t i = 0; i < sizeof(ascii); i++)
                ascii[i] = (char) i;
        buf_printf(&text, "[%s\\p{Cs}", class->negated ? "^" : ""); /* none in a text, but [] is no class */
        for (size_t i = 0; i < class->ranges.n; i++) {
                uint32_t lo = class->ranges.v[i].lo, hi = class->ranges.v[i].hi;

                lo = lo >= 0xd800 && lo < 0xe000 ? 0xe000 : lo;
                hi = hi >= 0xd800 && hi < 0xe000 ? 0xd7ff : hi;
                if (lo <= hi)
                        buf_printf(&text, "\\x{%x}-\\x{%x}", lo, hi);
        }
        buf_add_str(&text, properties);
        buf_addc(&text, "]+");
        class->unicode = pcre2_compile((PCRE2_SPTR) text.p, text.n, PCRE2_UTF | (fold ? PCRE2_CASELESS : 0), &k,
                                       &(size_t) { 0 }, NULL);
        if (!class->unicode)
                abort(); /* of memory */
        for (; at < sizeof(ascii) && find_members(class, str_n(ascii, sizeof(ascii)), at, &bounds); at = bounds[1])
                for (size_t i = bounds[0]; i < bounds[1]; i++)
                        class->ascii[i / 64] |= 1ULL << i % 64;
}

void regex_class_free(struct regex_class *class) {
        pcre2_code_free(class->unicode);
        vec_free(&class->ranges);
}
