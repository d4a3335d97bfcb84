/* The formats of strings that CustomResourceDefinitions may ask for: those of go-openapi/strfmt that upstream checks
 * (k8s.io/apiextensions-apiserver/pkg/apiserver/validation/formats.go). Most are a pattern, made when first asked for.
 */
#include <arpa/inet.h>
#include <pthread.h>

#include "apiserver/extensions/crd_schema.h"
#include "base/encode.h"
#include "base/regex.h"
#include "base/time.h"

static bool is_ipv4(struct str s) {
        uint32_t ip;

        return ipv4_parse(s, &ip);
}

static bool is_ipv6(struct str s) {
        struct in6_addr a;
        char text[INET6_ADDRSTRLEN + 1];

        if (s.n >= sizeof(text) || str_find(s, ':') < 0)
                return false;
        memcpy(text, s.p, s.n);
        text[s.n] = '\0';
        return inet_pton(AF_INET6, text, &a) == 1;
}

static bool is_cidr(struct str s) {
        ssize_t slash = str_find(s, '/');
        struct str address = str_sub(s, 0, slash < 0 ? 0 : (size_t) slash);
        uint64_t bits;

        return slash > 0 && str_to_u64(str_sub(s, (size_t) slash + 1, s.n), &bits) == 0 &&
               ((is_ipv4(address) && bits <= 32) || (is_ipv6(address) && bits <= 128));
}

static bool is_base64(struct str s) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        return s.n > 0 && base64_decode(&b, s) == 0;
}

static bool is_datetime(struct str s) {
        int64_t ns;

        return time_parse(s, &ns) == 0;
}

static bool is_date(struct str s) {
        char text[32];
        int64_t ns;

        if (s.n != 10)
                return false;
        memcpy(text, s.p, 10);
        memcpy(text + 10, "T00:00:00Z", 10);
        return time_parse(str_n(text, 20), &ns) == 0;
}

static bool is_duration(struct str s) {
        int64_t ns;

        return duration_parse_words(s, &ns) == 0;
}

static bool is_uri(struct str s) {
        ssize_t colon = str_find(s, ':');

        for (size_t i = 0; i < s.n; i++)
                if ((unsigned char) s.p[i] < 0x20 || s.p[i] == 0x7f || s.p[i] == ' ')
                        return false;
        return s.n > 0 && (s.p[0] == '/' || (colon > 0 && (s.p[0] | 0x20) >= 'a' && (s.p[0] | 0x20) <= 'z' &&
                                             str_find(str_sub(s, 0, (size_t) colon), '/') < 0));
}

static bool anything(struct str s) {
        return true;
}

static size_t isbn_digits(struct str s, char dst[static 14]) {
        size_t n = 0;

        for (size_t i = 0; i < s.n; i++)
                if (s.p[i] != '-' && s.p[i] != ' ') {
                        if (n == 13)
                                return 0;
                        dst[n++] = s.p[i];
                }
        return n;
}

static bool is_isbn10(struct str s) {
        char d[14];
        int sum = 0;

        if (isbn_digits(s, d) != 10)
                return false;
        for (int i = 0; i < 10; i++) {
                bool x = i == 9 && (d[i] == 'X' || d[i] == 'x');

                if (!x && (d[i] < '0' || d[i] > '9'))
                        return false;
                sum += (i + 1) * (x ? 10 : d[i] - '0');
        }
        return sum % 11 == 0;
}

static bool is_isbn13(struct str s) {
        char d[14];
        int sum = 0;

        if (isbn_digits(s, d) != 13)
                return false;
        for (int i = 0; i < 13; i++) {
                if (d[i] < '0' || d[i] > '9')
                        return false;
                sum += (i % 2 ? 3 : 1) * (d[i] - '0');
        }
        return sum % 10 == 0;
}

static bool is_isbn(struct str s) {
        return is_isbn10(s) || is_isbn13(s);
}

#define HEX "[0-9a-f]"
#define UUID(version, variant) "(?i)^" HEX "{8}-?" HEX "{4}-?" version HEX "{3}-?" variant HEX "{12}$"

static struct format {
        const char *name;
        bool (*matches)(struct str s);
        const char *pattern;
        struct regex *regex;
} formats[] = {
        { "bsonobjectid", .pattern = "(?i)^" HEX "{24}$" },
        { "uri", is_uri },
        { "email", .pattern = "^[^@<>()\\s,;:\"]+@[^@<>()\\s,;:\"]+$" },
        { "hostname",
          .pattern = "^([a-zA-Z0-9\\p{S}\\p{L}](-?[a-zA-Z0-9\\p{S}\\p{L}]{0,62})?|([a-zA-Z0-9\\p{S}\\p{L}]([a-zA-Z0-9"
                     "\\p{S}\\p{L}-]{0,61}[a-zA-Z0-9\\p{S}\\p{L}])?\\.)+[a-zA-Z\\p{L}]{2,63})$" },
        { "ipv4", is_ipv4 },
        { "ipv6", is_ipv6 },
        { "cidr", is_cidr },
        { "mac",
          .pattern = "(?i)^" HEX "{2}([:-])(" HEX "{2}[:-]){4,18}" HEX "{2}$|^(?i)" HEX "{4}(\\." HEX "{4}){2,4}$" },
        { "uuid", .pattern = UUID("" HEX, HEX "{4}-?") },
        { "uuid3", .pattern = UUID("3", HEX "{4}-?") },
        { "uuid4", .pattern = UUID("4", "[89ab]" HEX "{3}-?") },
        { "uuid5", .pattern = UUID("5", "[89ab]" HEX "{3}-?") },
        { "isbn", is_isbn },
        { "isbn10", is_isbn10 },
        { "isbn13", is_isbn13 },
        { "creditcard",
          .pattern = "^\\D*(4(\\D*[0-9]){12}((\\D*[0-9]){3})?|5\\D*[1-5](\\D*[0-9]){14}|6\\D*(0\\D*1\\D*1|5"
                     "\\D*[0-9]\\D*[0-9])(\\D*[0-9]){12}|3\\D*[47](\\D*[0-9]){13})\\D*$" },
        { "ssn", .pattern = "^\\d{3}[- ]?\\d{2}[- ]?\\d{4}$" },
        { "hexcolor", .pattern = "^#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$" },
        { "rgbcolor", .pattern = "^rgb\\(\\s*(\\d{1,2}|1\\d\\d|2[0-4]\\d|25[0-5])\\s*,\\s*(\\d{1,2}|1\\d\\d|2[0-4]\\d|"
                                 "25[0-5])\\s*,\\s*(\\d{1,2}|1\\d\\d|2[0-4]\\d|25[0-5])\\s*\\)$" },
        { "byte", is_base64 },
        { "password", anything },
        { "date", is_date },
        { "duration", is_duration },
        { "datetime", is_datetime },
};

static pthread_once_t compiled = PTHREAD_ONCE_INIT;

/* They stay for the life of the process. */
static void compile_all(void) {
        for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
                if (formats[i].pattern)
                        regex_compile(str_of(formats[i].pattern), &formats[i].regex, NULL);
}

static const struct format *find(struct str name) {
        char text[16];
        size_t n = 0;

        for (size_t i = 0; i < name.n; i++) { /* dashes are for readers */
                if (name.p[i] == '-')
                        continue;
                if (n == sizeof(text))
                        return NULL;
                text[n++] = name.p[i];
        }
        for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
                if (str_eqc(str_n(text, n), formats[i].name))
                        return &formats[i];
        return NULL;
}

bool crd_format_known(struct str format) {
        return find(format) != NULL;
}

bool crd_format_matches(const char *name, struct str value) {
        const struct format *f = find(str_of(name));

        if (!f || !f->pattern)
                return !f || f->matches(value);
        pthread_once(&compiled, compile_all);
        return !f->regex || regex_match(f->regex, value) == 1;
}
