/* Names. Each rule is a few classes of characters for first, middle and last place, and a length. */
#include "schema/names.h"

#define DIGIT 1
#define LOWER 2
#define UPPER 4
#define DASH 8
#define DOT 16
#define UNDERSCORE 32

#define DNS1123_LABEL "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
#define QUALIFIED "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"

struct rule {
        unsigned first, middle, last;
        size_t max;
        const char *message; /* with examples and regular expression, as validation.RegexError makes it */
};

static const struct rule qualified = {
        DIGIT | LOWER | UPPER,
        DIGIT | LOWER | UPPER | DASH | DOT | UNDERSCORE,
        DIGIT | LOWER | UPPER,
        63,
        "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
        "character "
        "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '" QUALIFIED "')",
};
static const struct rule label_value = {
        DIGIT | LOWER | UPPER,
        DIGIT | LOWER | UPPER | DASH | DOT | UNDERSCORE,
        DIGIT | LOWER | UPPER,
        63,
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start "
        "and end with "
        "an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
        "'(" QUALIFIED ")?')",
};
static const struct rule dns1123_label = {
        DIGIT | LOWER,
        DIGIT | LOWER | DASH,
        DIGIT | LOWER,
        63,
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
        "with an "
        "alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '" DNS1123_LABEL "')",
};
static const struct rule dns1123_subdomain = {
        DIGIT | LOWER,
        DIGIT | LOWER | DASH,
        DIGIT | LOWER,
        253,
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
        "and end "
        "with an alphanumeric character (e.g. 'example.com', regex used for validation is '" DNS1123_LABEL
        "(\\." DNS1123_LABEL ")*')",
};
static const struct rule dns1035_label = {
        LOWER,
        DIGIT | LOWER | DASH,
        DIGIT | LOWER,
        63,
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
        "character, and end "
        "with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
        "'[a-z]([-a-z0-9]*[a-z0-9])?')",
};

static unsigned class_of(char c) {
        if (c >= '0' && c <= '9')
                return DIGIT;
        if (c >= 'a' && c <= 'z')
                return LOWER;
        if (c >= 'A' && c <= 'Z')
                return UPPER;
        return c == '-' ? DASH : c == '.' ? DOT : c == '_' ? UNDERSCORE : 0;
}

static bool follows(struct str s, const struct rule *r) {
        if (s.n == 0 || !(class_of(s.p[0]) & r->first) || !(class_of(s.p[s.n - 1]) & r->last))
                return false;
        for (size_t i = 1; i + 1 < s.n; i++)
                if (!(class_of(s.p[i]) & r->middle))
                        return false;
        return true;
}

static bool fault(struct buf *why, const char *prefix, const char *text) {
        if (why) {
                if (why->n > 0)
                        buf_addc(why, "; ");
                buf_addc(why, prefix);
                buf_addc(why, text);
        }
        return false;
}

static bool check(struct str s, const struct rule *r, bool fits, struct buf *why, const char *prefix) {
        bool ok = true;

        if (s.n > r->max) {
                char text[64];

                snprintf(text, sizeof(text), "must be no more than %zu characters", r->max);
                ok = fault(why, prefix, text);
        }
        return fits ? ok : fault(why, prefix, r->message);
}

static bool labels(struct str s) {
        bool fits = s.n > 0 && s.p[s.n - 1] != '.';
        struct str part;

        while (fits && str_split(&s, '.', &part))
                fits = follows(part, &dns1123_subdomain);
        return fits;
}

static bool subdomain(struct str s, struct buf *why, const char *prefix) {
        return check(s, &dns1123_subdomain, labels(s), why, prefix);
}

bool name_is_label_value(struct str s, struct buf *why) {
        return check(s, &label_value, s.n == 0 || follows(s, &label_value), why, "");
}

bool name_is_dns1123_label(struct str s, struct buf *why) {
        struct rule rule = dns1123_label;

        if (labels(s))
                rule.message = "must not contain dots";
        return check(s, &rule, follows(s, &rule), why, "");
}

bool name_is_dns1123_subdomain(struct str s, struct buf *why) {
        return subdomain(s, why, "");
}

bool name_is_dns1035_label(struct str s, struct buf *why) {
        return check(s, &dns1035_label, follows(s, &dns1035_label), why, "");
}

bool name_is_qualified(struct str s, struct buf *why) {
        ssize_t slash = str_find(s, '/');
        struct str prefix = str_sub(s, 0, slash > 0 ? (size_t) slash : 0), name = str_sub(s, (size_t) (slash + 1), s.n);
        bool ok = true;

        if (slash >= 0 && str_find(name, '/') >= 0) {
                fault(why, "a qualified name ", qualified.message);
                if (why)
                        buf_addc(why, " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')");
                return false;
        }
        if (slash == 0)
                ok = fault(why, "prefix part ", "must be non-empty");
        else if (slash > 0)
                ok = subdomain(prefix, why, "prefix part ");
        if (name.n == 0)
                ok = fault(why, "name part ", "must be non-empty");
        return check(name, &qualified, follows(name, &qualified), why, "name part ") && ok;
}
