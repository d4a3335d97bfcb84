/* Image references. The grammar is github.com/distribution/reference's:
 *
 *   localhost:5000/team/app:v1@sha256:…        docker.io is implied where the first part has no '.', ':' and is not
 *   └── domain ──┘ └ path ┘ tag  digest         "localhost"; docker.io's official images live below library/
 *
 * Written as a hand-made matcher: one pass, no allocation, so that it can be fuzzed and used on every pod. */
#include "base/image_ref.h"

#include <ctype.h>

static bool is_lower_alnum(char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_alnum(char c) {
        return is_lower_alnum(c) || (c >= 'A' && c <= 'Z');
}

static bool is_hex(struct str s) {
        for (size_t i = 0; i < s.n; i++)
                if (!((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f')))
                        return false;
        return s.n > 0;
}

bool digest_valid(struct str d) {
        return d.n == 71 && str_has_prefix(d, STR("sha256:")) && is_hex(str_sub(d, 7, d.n));
}

bool image_id_like(struct str s, struct str *ret_hex) {
        if (str_has_prefix(s, STR("sha256:")))
                s = str_sub(s, 7, s.n);
        if (s.n < 12 || s.n > 64 || !is_hex(s))
                return false;
        *ret_hex = s;
        return true;
}

/* Letters and digits, with "-" inside. */
static bool domain_component(struct str s) {
        if (str_empty(s) || !is_alnum(s.p[0]) || !is_alnum(s.p[s.n - 1]))
                return false;
        for (size_t i = 0; i < s.n; i++)
                if (!is_alnum(s.p[i]) && s.p[i] != '-')
                        return false;
        return true;
}

static bool domain_valid(struct str s) {
        struct str host = s, part;
        ssize_t colon = str_rfind(s, ':');

        if (!str_empty(s) && s.p[0] == '[') {
                ssize_t end = str_find(s, ']');

                if (end < 2)
                        return false;
                for (ssize_t i = 1; i < end; i++)
                        if (!isxdigit((unsigned char) s.p[i]) && s.p[i] != ':')
                                return false;
                if ((size_t) end + 1 == s.n)
                        return true;
                if (colon != end + 1)
                        return false;
        }
        if (colon >= 0) {
                host = str_sub(s, 0, (size_t) colon);
                part = str_sub(s, (size_t) colon + 1, s.n);
                if (str_empty(part))
                        return false;
                for (size_t i = 0; i < part.n; i++)
                        if (part.p[i] < '0' || part.p[i] > '9')
                                return false;
                if (host.p[0] == '[')
                        return true;
        }
        if (str_empty(host) || host.p[host.n - 1] == '.')
                return false;
        while (str_split(&host, '.', &part))
                if (!domain_component(part))
                        return false;
        return true;
}

/* [a-z0-9]+ joined by ".", "_", "__" or any number of "-". */
static bool path_component(struct str s) {
        size_t i = 0;

        for (;;) {
                size_t start = i;

                while (i < s.n && is_lower_alnum(s.p[i]))
                        i++;
                if (i == start)
                        return false;
                if (i == s.n)
                        return true;
                if (s.p[i] == '-')
                        while (i < s.n && s.p[i] == '-')
                                i++;
                else if (s.p[i] == '.')
                        i++;
                else if (s.p[i] == '_')
                        i += i + 1 < s.n && s.p[i + 1] == '_' ? 2 : 1;
                else
                        return false;
        }
}

static bool path_valid(struct str s) {
        if (str_empty(s) || s.p[s.n - 1] == '/')
                return false;
        str_each(part, s, '/')
                if (!path_component(part))
                        return false;
        return true;
}

static bool tag_valid(struct str s) {
        if (str_empty(s) || s.n > 128 || (!is_alnum(s.p[0]) && s.p[0] != '_'))
                return false;
        for (size_t i = 1; i < s.n; i++)
                if (!is_alnum(s.p[i]) && s.p[i] != '_' && s.p[i] != '.' && s.p[i] != '-')
                        return false;
        return true;
}

static bool has_upper(struct str s) {
        for (size_t i = 0; i < s.n; i++)
                if (s.p[i] >= 'A' && s.p[i] <= 'Z')
                        return true;
        return false;
}

static int invalid(struct error *err, struct str ref, const char *why) {
        return error_set(err, -EINVAL, "couldn't parse image reference \"%" STR_FMT "\": %s", STR_ARG(ref), why);
}

int image_reference_parse(struct arena *a, struct str ref, struct image_reference *ret, struct error *err) {
        struct image_reference r = { .domain = STR("docker.io") };
        struct str rest = ref;

        if (ref.n > 4096)
                return error_set(err, -EINVAL, "couldn't parse image reference: more than 4096 characters");
        if (ref.n == 64 && is_hex(ref))
                return invalid(err, ref, "invalid repository name, cannot specify 64-byte hexadecimal strings");
        ssize_t i = str_find(rest, '@');
        if (i >= 0) {
                r.digest = str_sub(rest, (size_t) i + 1, rest.n);
                rest = str_sub(rest, 0, (size_t) i);
                if (!digest_valid(r.digest))
                        return invalid(err, ref, "invalid reference format");
        }
        i = str_find(rest, '/');
        if (i >= 0) {
                struct str first = str_sub(rest, 0, (size_t) i);

                if (str_find(first, '.') >= 0 || str_find(first, ':') >= 0 || str_eqc(first, "localhost") ||
                    has_upper(first)) {
                        r.domain = str_eqc(first, "index.docker.io") ? STR("docker.io") : first;
                        rest = str_sub(rest, (size_t) i + 1, rest.n);
                }
        }
        i = str_rfind(rest, ':');
        if (i >= 0) {
                r.tag = str_sub(rest, (size_t) i + 1, rest.n);
                rest = str_sub(rest, 0, (size_t) i);
                if (!tag_valid(r.tag))
                        return invalid(err, ref, "invalid reference format");
        }
        r.path = rest;
        if (str_eqc(r.domain, "docker.io") && !str_empty(rest) && str_find(rest, '/') < 0)
                r.path = arena_printf(a, "library/%" STR_FMT, STR_ARG(rest));
        if (has_upper(rest))
                return error_set(err, -EINVAL,
                                 "couldn't parse image reference \"%" STR_FMT
                                 "\": invalid reference format: repository name (%" STR_FMT ") must be lowercase",
                                 STR_ARG(ref), STR_ARG(r.path));
        if (!path_valid(r.path) || !domain_valid(r.domain))
                return invalid(err, ref, "invalid reference format");
        if (r.path.n > 255)
                return invalid(err, ref, "repository name must not be more than 255 characters");
        if (!str_empty(r.digest))
                r.tag = (struct str) { 0 };
        else if (str_empty(r.tag))
                r.tag = STR("latest");
        *ret = r;
        return 0;
}

struct str image_reference_format(struct arena *a, const struct image_reference *r) {
        bool by_digest = !str_empty(r->digest);
        struct str last = by_digest ? r->digest : r->tag;

        return arena_printf(a, "%" STR_FMT "/%" STR_FMT "%c%" STR_FMT, STR_ARG(r->domain), STR_ARG(r->path),
                            by_digest ? '@' : ':', STR_ARG(last));
}

struct str image_reference_host(const struct image_reference *r) {
        return str_eqc(r->domain, "docker.io") ? STR("registry-1.docker.io") : r->domain;
}

int image_normalize(struct arena *a, struct str ref, struct str *ret, struct error *err) {
        struct image_reference r;
        int k = image_reference_parse(a, ref, &r, err);

        if (k >= 0)
                *ret = image_reference_format(a, &r);
        return k;
}
