/* Names. What they may have is told by a function each. */
#include <ctype.h>

#include "schema/names.h"

static bool is_lower_alnum(char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* [a-z0-9]([-a-z0-9]*[a-z0-9])? */
static bool label_syntax(struct str s) {
        if (s.n == 0 || !is_lower_alnum(s.p[0]) || !is_lower_alnum(s.p[s.n - 1]))
                return false;
        for (size_t i = 1; i + 1 < s.n; i++)
                if (!is_lower_alnum(s.p[i]) && s.p[i] != '-')
                        return false;
        return true;
}

static bool subdomain_syntax(struct str s) {
        size_t from = 0;

        for (size_t i = 0; i <= s.n; i++) {
                if (i < s.n && s.p[i] != '.')
                        continue;
                if (!label_syntax(str_sub(s, from, i)))
                        return false;
                from = i + 1;
        }
        return true;
}

/* [A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])? */
static bool qualified_syntax(struct str s) {
        return s.n > 0 && isalnum((unsigned char) s.p[0]) && isalnum((unsigned char) s.p[s.n - 1]) &&
               str_made_of(s, "-_.");
}

#define LABEL_RE "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
#define SUBDOMAIN_TEXT                                                                                             \
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must " \
        "start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "          \
        "'" LABEL_RE "(\\." LABEL_RE ")*')"

size_t check_dns_label(struct str s, const char *ret[MAX_MESSAGES]) {
        size_t n = 0;

        if (s.n > 63)
                ret[n++] = "must be no more than 63 characters";
        if (!label_syntax(s))
                ret[n++] = subdomain_syntax(s) ? "must not contain dots"
                                               : "a lowercase RFC 1123 label must consist of lower case alphanumeric "
                                                 "characters or '-', and must start and end with an alphanumeric "
                                                 "character (e.g. 'my-name',  or '123-abc', regex used for validation "
                                                 "is '" LABEL_RE "')";
        return n;
}

size_t check_dns_subdomain(struct str s, const char *ret[MAX_MESSAGES]) {
        size_t n = 0;

        if (s.n > 253)
                ret[n++] = "must be no more than 253 characters";
        if (!subdomain_syntax(s))
                ret[n++] = SUBDOMAIN_TEXT;
        return n;
}

size_t check_dns1035_label(struct str s, const char *ret[MAX_MESSAGES]) {
        size_t n = 0;

        if (s.n > 63)
                ret[n++] = "must be no more than 63 characters";
        if (!label_syntax(s) || !(s.p[0] >= 'a' && s.p[0] <= 'z'))
                ret[n++] = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
                           "alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or "
                           "'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
        return n;
}

size_t check_path_segment(struct str s, const char *ret[MAX_MESSAGES]) {
        size_t n = 0;

        if (str_eqc(s, ".") || str_eqc(s, "..")) {
                ret[0] = str_eqc(s, ".") ? "may not be '.'" : "may not be '..'";
                return 1;
        }
        if (str_find(s, '/') >= 0)
                ret[n++] = "may not contain '/'";
        if (str_find(s, '%') >= 0)
                ret[n++] = "may not contain '%'";
        return n;
}

/* What else may be wrong with it is found elsewhere. */
size_t check_any_name(struct str s, const char *ret[MAX_MESSAGES]) {
        return 0;
}

#define QUALIFIED_RE "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
#define QUALIFIED_TEXT                                                                                           \
        "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric " \
        "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '" QUALIFIED_RE "')"

size_t check_qualified_name(struct str s, const char *ret[MAX_MESSAGES]) {
        ssize_t slash = str_find(s, '/');
        struct str name = slash < 0 ? s : str_sub(s, (size_t) slash + 1, s.n);
        size_t n = 0;

        if (slash >= 0 && str_find(name, '/') >= 0) {
                ret[0] = "a qualified name " QUALIFIED_TEXT
                         " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
                return 1;
        }
        if (slash == 0)
                ret[n++] = "prefix part must be non-empty";
        else if (slash > 253)
                ret[n++] = "prefix part must be no more than 253 characters";
        if (slash > 0 && !subdomain_syntax(str_sub(s, 0, (size_t) slash)))
                ret[n++] = "prefix part " SUBDOMAIN_TEXT;
        if (name.n == 0)
                ret[n++] = "name part must be non-empty";
        else if (name.n > 63)
                ret[n++] = "name part must be no more than 63 characters";
        if (!qualified_syntax(name))
                ret[n++] = "name part " QUALIFIED_TEXT;
        return n;
}

size_t check_label_value(struct str s, const char *ret[MAX_MESSAGES]) {
        size_t n = 0;

        if (s.n > 63)
                ret[n++] = "must be no more than 63 characters";
        if (s.n > 0 && !qualified_syntax(s))
                ret[n++] = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
                           "'.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or "
                           "'my_value',  or '12345', regex used for validation is "
                           "'(" QUALIFIED_RE ")?')";
        return n;
}

static bool chdir_prefix(struct str s, const char **ret) {
        if (str_eqc(s, ".") || str_eqc(s, ".."))
                *ret = str_eqc(s, ".") ? "must not be '.'" : "must not be '..'";
        else if (str_has_prefix(s, STR("..")))
                *ret = "must not start with '..'";
        else
                return false;
        return true;
}

size_t check_config_key(struct str s, const char *ret[MAX_MESSAGES]) {
        size_t n = 0;

        if (s.n > 253)
                ret[n++] = "must be no more than 253 characters";
        if (s.n == 0 || !str_made_of(s, "-._"))
                ret[n++] = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. "
                           "'key.name',  or 'KEY_NAME',  or "
                           "'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
        if (n < 2 && chdir_prefix(s, &ret[n]))
                n++;
        return n;
}

size_t check_env_name(struct str s, const char *ret[MAX_MESSAGES]) { /* RelaxedEnvironmentVariableValidation */
        if (s.n == 0) {
                ret[0] = "environment variable name must be non-empty";
                return 1;
        }
        for (size_t i = 0; i < s.n; i++)
                if (s.p[i] < 0x20 || s.p[i] > 0x7e || s.p[i] == '=') {
                        ret[0] = "a valid environment variable name must consist only of printable ASCII characters "
                                 "other than '='";
                        return 1;
                }
        return 0;
}

size_t check_port_name(struct str s, const char *ret[MAX_MESSAGES]) {
        size_t n = 0;
        bool charset = s.n > 0, letter = false;

        for (size_t i = 0; i < s.n; i++) {
                charset = charset && (is_lower_alnum(s.p[i]) || s.p[i] == '-');
                letter = letter || (s.p[i] >= 'a' && s.p[i] <= 'z');
        }
        if (s.n > 15)
                ret[n++] = "must be no more than 15 characters";
        if (!charset)
                ret[n++] = "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)";
        if (!letter)
                ret[n++] = "must contain at least one letter (a-z)";
        if (str_search(s, STR("--")) >= 0)
                ret[n++] = "must not contain consecutive hyphens";
        if (s.n > 0 && (s.p[0] == '-' || s.p[s.n - 1] == '-'))
                ret[n++] = "must not begin or end with a hyphen";
        return n;
}

bool name_fits(struct str s, name_check check, struct buf *why) {
        const char *messages[MAX_MESSAGES];
        size_t n = check(s, messages);

        for (size_t i = 0; why && i < n; i++)
                buf_printf(why, "%s%s", why->n > 0 ? "; " : "", messages[i]);
        return n == 0;
}
