/* What the values of flags may be: each by itself, as its kind is read, and all of them together. The words are
 * kube-apiserver's, which scripts that start it know. */
#include <arpa/inet.h>
#include <math.h>
#include <stdlib.h>

#include "apiserver/admission/admission.h"
#include "apiserver/allocator.h"
#include "apiserver/config_file.h"
#include "apiserver/cors.h"
#include "apiserver/flags.h"
#include "apiserver/server.h"
#include "apiserver/validation/validate.h"
#include "base/arena.h"
#include "base/time.h"
#include "base/url.h"

/* ---- one value ---- */

void duration_explain(struct str text, struct buf *dst) {
        static const char number[] = "0123456789.";
        struct str s = text, unit;
        size_t i = 0, end;

        if (s.n && (s.p[0] == '-' || s.p[0] == '+'))
                s = str_sub(s, 1, s.n);
        while (i < s.n && memchr(number, s.p[i], sizeof(number) - 1))
                i++;
        for (end = i; end < s.n && !memchr(number, s.p[end], sizeof(number) - 1);)
                end++;
        unit = str_sub(s, i, end);
        if (i > 0 && str_empty(unit)) {
                buf_printf(dst, "time: missing unit in duration \"%" STR_FMT "\"", STR_ARG(text));
        } else {
                _cleanup_buf_ struct buf one = BUF_INIT;
                int64_t ns;

                buf_printf(&one, "1%" STR_FMT, STR_ARG(unit));
                if (i > 0 && duration_parse(buf_str(&one), &ns) < 0)
                        buf_printf(dst, "time: unknown unit \"%" STR_FMT "\" in duration \"%" STR_FMT "\"",
                                   STR_ARG(unit), STR_ARG(text));
                else
                        buf_printf(dst, "time: invalid duration \"%" STR_FMT "\"", STR_ARG(text));
        }
}

/* Go's strconv, as far as flags are written: what is wrong, or NULL. */
static const char *read_int(struct str text, int64_t *ret) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        char *end;

        buf_add_str(&b, text);
        buf_putc(&b, 0);
        errno = 0;
        *ret = strtoll(b.p, &end, 0);
        if (text.n == 0 || (size_t) (end - b.p) != text.n || !strchr("+-0123456789", text.p[0]))
                return "invalid syntax";
        return errno == ERANGE ? "value out of range" : NULL;
}

static const char *read_float(struct str text, double *ret) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        char *end;

        buf_add_str(&b, text);
        buf_putc(&b, 0);
        errno = 0;
        *ret = strtod(b.p, &end);
        if (text.n == 0 || (size_t) (end - b.p) != text.n || !strchr("+-.0123456789", text.p[0]))
                return "invalid syntax";
        return errno == ERANGE ? "value out of range" : NULL;
}

static bool is_int(struct str text, struct buf *ret, struct buf *why) {
        int64_t n;
        const char *wrong = read_int(text, &n);

        if (wrong)
                buf_printf(why, "strconv.ParseInt: parsing \"%" STR_FMT "\": %s", STR_ARG(text), wrong);
        else
                buf_printf(ret, "%lld", (long long) n);
        return !wrong;
}

/* The tolerations' own integer does not tell what it was given. */
static bool is_seconds(struct str text, struct buf *ret, struct buf *why) {
        int64_t n;
        const char *wrong = read_int(text, &n);

        if (wrong)
                buf_addc(why, strcmp(wrong, "invalid syntax") == 0 ? "parse error" : wrong);
        else
                buf_printf(ret, "%lld", (long long) n);
        return !wrong;
}

static bool is_float(struct str text, struct buf *ret, struct buf *why) {
        double d;
        const char *wrong = read_float(text, &d);

        if (wrong)
                buf_printf(why, "strconv.ParseFloat: parsing \"%" STR_FMT "\": %s", STR_ARG(text), wrong);
        buf_add_str(ret, text);
        return !wrong;
}

static bool is_bool(struct str text, struct buf *ret, struct buf *why) {
        bool yes = str_is_part(text, ' ', STR("1 t T TRUE true True")),
             no = str_is_part(text, ' ', STR("0 f F FALSE false False"));

        if (!yes && !no)
                buf_printf(why, "strconv.ParseBool: parsing \"%" STR_FMT "\": invalid syntax", STR_ARG(text));
        else
                buf_addc(ret, yes ? "true" : "false");
        return yes || no;
}

static bool is_duration(struct str text, struct buf *ret, struct buf *why) {
        int64_t ns;
        bool good = duration_parse(text, &ns) == 0;

        if (!good)
                duration_explain(text, why);
        buf_add_str(ret, text);
        return good;
}

static bool is_ip(struct str text, struct buf *ret, struct buf *why) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        unsigned char raw[16];
        const char *p = arena_cstr(a, text);
        bool good = inet_pton(AF_INET, p, raw) == 1 || inet_pton(AF_INET6, p, raw) == 1;

        if (!good)
                buf_printf(why, "failed to parse IP: \"%" STR_FMT "\"", STR_ARG(text));
        buf_add_str(ret, text);
        return good;
}

/* A certificate and its key, and after a colon the names that they are for. */
static bool is_pair(struct str text, struct buf *ret, struct buf *why) {
        struct str files = str_sub(text, 0, str_find(text, ':') < 0 ? text.n : (size_t) str_find(text, ':'));
        ssize_t comma = str_find(files, ',');
        bool good = comma >= 0 && str_find(str_sub(files, (size_t) comma + 1, files.n), ',') < 0;

        if (!good)
                buf_addc(why, "expected comma separated certificate and key file paths");
        buf_add_str(ret, text);
        return good;
}

static bool is_map(struct str text, struct buf *ret, struct buf *why) {
        bool good = str_find(text, '=') >= 0;

        if (!good)
                buf_printf(why, "%" STR_FMT " must be formatted as key=value", STR_ARG(text));
        buf_add_str(ret, text);
        return good;
}

/* As that of a map, which also may be empty; commas are of the value. */
static bool is_pair_of_texts(struct str text, struct buf *ret, struct buf *why) {
        bool good = str_find(text, '=') >= 0;

        if (!good)
                buf_addc(why, "malformed pair, expect string=string");
        buf_add_str(ret, text);
        return good;
}

static bool is_level(struct str text, struct buf *ret, struct buf *why) {
        uint64_t n;
        int r = str_to_u64(text, &n);

        if (r == 0 && n <= INT32_MAX)
                buf_printf(ret, "%llu", (unsigned long long) n);
        else
                buf_printf(why, "strconv.ParseUint: parsing \"%" STR_FMT "\": %s", STR_ARG(text),
                           r == 0 || r == -ERANGE ? "value out of range" : "invalid syntax");
        return ret->n > 0;
}

static bool is_levels(struct str text, struct buf *ret, struct buf *why) {
        _cleanup_buf_ struct buf level = BUF_INIT;

        str_each(one, text, ',') {
                ssize_t equals = str_find(one, '=');

                if (equals <= 0 && one.n) {
                        buf_printf(why, "\"%" STR_FMT "\" does not have the pattern=N format", STR_ARG(one));
                        return false;
                }
                buf_printf(why, "parsing verbosity in \"%" STR_FMT "\": ", STR_ARG(one));
                if (one.n && !is_level(str_sub(one, (size_t) equals + 1, one.n), &level, why))
                        return false;
                why->n = level.n = 0;
        }
        buf_add_str(ret, text);
        return true;
}

static bool is_quantity(struct str text, struct buf *ret, struct buf *why) {
        bool good = text.n > 0 && strchr("+-.0123456789", text.p[0]);

        if (!good)
                buf_addc(why, "quantities must match the regular expression "
                              "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
        buf_add_str(ret, text);
        return good;
}

/* Go's Atoi is not told of the second of two that are wrong. */
static bool is_range(struct str text, struct buf *ret, struct buf *why) {
        ssize_t sign = str_find(text, '-') >= 0 ? str_find(text, '-') : str_find(text, '+');
        struct str parts[] = { str_sub(text, 0, sign < 0 ? text.n : (size_t) sign),
                               sign < 0 ? text : str_sub(text, (size_t) sign + 1, text.n) };
        uint64_t n[2];

        if (text.n == 0) /* the default */
                return true;
        for (size_t i = 0; i < 2; i++)
                if (str_to_u64(parts[i], &n[i]) < 0) {
                        buf_printf(why, "strconv.Atoi: parsing \"%" STR_FMT "\": invalid syntax", STR_ARG(parts[i]));
                        return false;
                }
        if (sign >= 0 && text.p[sign] == '+')
                n[1] += n[0];
        if (n[0] > 65535 || n[1] > 65535)
                buf_printf(why, "the port range cannot be greater than 65535: %" STR_FMT, STR_ARG(text));
        else if (n[1] < n[0])
                buf_printf(why, "end port cannot be less than start port: %" STR_FMT, STR_ARG(text));
        buf_printf(ret, "%llu-%llu", (unsigned long long) n[0], (unsigned long long) n[1]);
        return why->n == 0;
}

/* By how the help names the value; a value of any other name is text. */
static const struct {
        const char *arg;
        bool (*read)(struct str text, struct buf *ret, struct buf *why);
} kinds[] = {
        { "BOOL", is_bool },
        { "N", is_int },
        { "SECONDS", is_int },
        { "BYTES", is_int },
        { "DAYS", is_int },
        { "MB", is_int },
        { "SPAN", is_seconds },
        { "QPS", is_float },
        { "CHANCE", is_float },
        { "DURATION", is_duration },
        { "IP", is_ip },
        { "PAIR", is_pair },
        { "LABELS", is_map },
        { "PAIRS", is_pair_of_texts },
        { "LEVEL", is_level },
        { "LEVELS", is_levels },
        { "QUANTITY", is_quantity },
        { "RANGE", is_range },
};

int apiserver_flag_read(struct str name, const char *arg, const char *text, struct buf *ret, struct error *err) {
        _cleanup_buf_ struct buf why = BUF_INIT;

        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
                if (strcmp(arg, kinds[i].arg) != 0)
                        continue;
                return kinds[i].read(str_of(text), ret, &why)
                                       ? 0
                                       : error_set(err, -EINVAL,
                                                   "invalid argument \"%s\" for \"%s--%" STR_FMT "\" flag: %" STR_FMT,
                                                   text, str_eqc(name, "v") ? "-v, " : "", STR_ARG(name),
                                                   STR_ARG(buf_str(&why)));
        }
        buf_addc(ret, text);
        return 0;
}

/* ---- all of them ---- */

struct check {
        const struct apiserver *s;
        const char *const *args; /* its */
        struct arena *arena;
        struct faults wrong;
};

/* What was given; "": nothing was. */
static struct str given(const struct check *c, const char *name) {
        return str_of(flag_value(c->args, name, ""));
}

/* The next of a list, as Go splits it: also the last one may be empty. */
static bool next_of(struct str *rest, struct str *ret) {
        ssize_t comma = str_find(*rest, ',');

        if (str_empty(*rest) && !rest->p)
                return false;
        *ret = comma < 0 ? *rest : str_sub(*rest, 0, (size_t) comma);
        *rest = comma < 0 ? str_n(NULL, 0) : str_sub(*rest, (size_t) comma + 1, rest->n);
        return true;
}

static struct str list_of(const struct check *c, const char *name) {
        struct str list = given(c, name);

        return list.n ? list : (struct str) { 0 };
}

#define each_given(one, c, flag) for (struct str one##_rest = list_of(c, flag), one; next_of(&one##_rest, &one);)

static bool is_true(const struct check *c, const char *name) {
        return str_eqc(given(c, name), "true");
}

#define complain(c, ...) fault_add(&(c)->wrong, __VA_ARGS__)

/* A number, or a duration in seconds. */
static void check_numbers(struct check *c) {
        static const struct {
                const char *flag;
                double most;
                const char *text;
        } ranges[] = {
                { "livez-grace-period", HUGE_VAL, "--livez-grace-period can not be a negative value" },
                { "max-requests-inflight", HUGE_VAL, "--max-requests-inflight can not be negative value" },
                { "max-mutating-requests-inflight", HUGE_VAL,
                  "--max-mutating-requests-inflight can not be negative value" },
                { "request-timeout", HUGE_VAL, "--request-timeout can not be negative value" },
                { "goaway-chance", 0.02, "--goaway-chance can not be less than 0 or greater than 0.02" },
                { "min-request-timeout", HUGE_VAL, "--min-request-timeout can not be negative value" },
                { "storage-initialization-timeout", HUGE_VAL,
                  "--storage-initialization-timeout can not be negative value" },
                { "shutdown-delay-duration", HUGE_VAL, "--shutdown-delay-duration can not be negative value" },
                { "shutdown-watch-termination-grace-period", HUGE_VAL,
                  "shutdown-watch-termination-grace-period, if provided, can not be a negative value" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(ranges); i++) {
                struct str text = given(c, ranges[i].flag);
                double n = 0;
                int64_t ns;

                if (text.n && read_float(text, &n) && duration_parse(text, &ns) == 0)
                        n = (double) ns / NSEC_PER_SEC;
                if (n < 0 || n > ranges[i].most)
                        complain(c, "%s", ranges[i].text);
        }
}

static void check_hsts(struct check *c) {
        struct str name;

        each_given(one, c, "strict-transport-security-directives") {
                struct str whole = one;

                if (str_empty(str_trim(one))) {
                        complain(c, "empty value in strict-transport-security-directives");
                        continue;
                }
                if (str_eqc(one, "includeSubDomains") || str_eqc(one, "preload"))
                        continue;
                str_split(&one, '=', &name);
                if (!str_eqc(name, "max-age") || name.n == whole.n || str_find(one, '=') >= 0)
                        complain(c, "--strict-transport-security-directives invalid, allowed values: "
                                    "max-age=expireTime, includeSubDomains, preload. see "
                                    "https://tools.ietf.org/html/rfc6797#section-6.1 for more information");
        }
}

/* Ours is the only version there is: 1.33. */
static void check_versions(struct check *c) {
        static const char *const forward[][2] = {
                { "emulation-forward-compatible", "EmulationForwardCompatible" },
                { "runtime-config-emulation-forward-compatible", "RuntimeConfigEmulationForwardCompatible" },
        };
        struct str part;

        str_each(one, given(c, "emulated-version"), ',') {
                struct str component = STR("kube"), major = { 0 }, minor = { 0 };
                uint64_t n[3] = { 0 };

                if (str_find(one, '=') >= 0)
                        str_split(&one, '=', &component);
                one = part = str_trim(one);
                str_split(&part, '.', &major);
                if (str_has_prefix(major, STR("v")))
                        major = str_sub(major, 1, major.n);
                str_split(&part, '.', &minor);
                if (str_to_u64(major, &n[0]) < 0 || str_to_u64(minor, &n[1]) < 0 ||
                    (part.n && str_to_u64(part, &n[2]) < 0))
                        complain(c, "could not parse \"%" STR_FMT "\" as version", STR_ARG(one));
                else if (n[2] > 0)
                        complain(c, "patch version not allowed, got: %" STR_FMT "=%" STR_FMT, STR_ARG(component),
                                 STR_ARG(one));
                else if (!str_eqc(str_trim(component), "kube"))
                        complain(c, "component not registered: %" STR_FMT, STR_ARG(component));
                else if (n[0] != 1 || n[1] < 31 || n[1] > 33)
                        complain(c, "emulation version %" STR_FMT " is not between [1.31, 1.33.0]", STR_ARG(one));
                else if (n[1] != 33)
                        complain(c, "--emulated-version: Cube is always 1.33");
        }
        for (size_t i = 0; i < ARRAY_SIZE(forward); i++)
                if (is_true(c, forward[i][0]))
                        complain(c,
                                 "ServerRunOptions.%s cannot be set to true if the emulation version is the "
                                 "same as the binary version",
                                 forward[i][1]);
}

/* What the server itself watches cannot be turned off. */
static void check_fairness(struct check *c) {
#define FLOW "flowcontrol.apiserver.k8s.io/v1=false"
        if (str_eqc(given(c, "enable-priority-and-fairness"), "false"))
                return;
        for (const char *const *a = c->args; a && *a; a++)
                if (strncmp(*a, "runtime-config=", 15) == 0 && strstr(*a, FLOW))
                        complain(c, "--runtime-config=" FLOW " conflicts with --enable-priority-and-fairness=true");
}

static void check_storage(struct check *c) {
        struct str backend = given(c, "storage-backend"), type = given(c, "storage-media-type"),
                   reconciler = given(c, "endpoint-reconciler-type");

        if (backend.n && !str_eqc(backend, "etcd3"))
                complain(c, "--storage-backend invalid, allowed values: etcd3. If not specified, it will "
                            "default to 'etcd3'");
        if (reconciler.n && !str_among(reconciler, WORDS("master-count", "lease", "none")))
                complain(c, "Reconciler not implemented: %" STR_FMT, STR_ARG(reconciler));
        if (is_true(c, "encryption-provider-config-automatic-reload") && !given(c, "encryption-provider-config").n)
                complain(c, "--encryption-provider-config-automatic-reload must be set with "
                            "--encryption-provider-config");
        if (type.n && !str_eqc(type, "application/json") && !str_eqc(type, "application/yaml") &&
            !str_eqc(type, "application/vnd.kubernetes.protobuf"))
                complain(c,
                         "--storage-media-type \"%" STR_FMT "\" invalid, allowed values: application/json, "
                         "application/vnd.kubernetes.protobuf, application/yaml",
                         STR_ARG(type));
}

static void check_issuers(struct check *c) {
        struct str uri = given(c, "service-account-jwks-uri");
        const char *fault;
        struct url u;

        for (const char *const *a = c->args; a && *a; a++) {
                const char *issuer = strncmp(*a, "service-account-issuer=", 23) == 0 ? *a + 23 : NULL;

                if (!issuer)
                        continue;
                fault = strchr(issuer, ':') ? url_parse(c->arena, str_of(issuer), false, &u, quoted_in_go) : NULL;
                if (fault)
                        complain(c,
                                 "service-account-issuer \"%s\" contained a ':' but was not a valid URL: parse \"%s\": "
                                 "%s",
                                 issuer, issuer, fault);
                if (!*issuer)
                        complain(c, "service-account-issuer should not be an empty string");
                for (const char *const *b = c->args; *issuer && b < a; b++)
                        if (strcmp(*a, *b) == 0) {
                                complain(c, "service-account-issuer \"%s\" is already specified", issuer);
                                break;
                        }
        }
        fault = url_parse(c->arena, uri, false, &u, quoted_in_go);
        if (fault)
                complain(c, "service-account-jwks-uri must be a valid URL: parse \"%" STR_FMT "\": %s", STR_ARG(uri),
                         fault);
        else if (uri.n && !str_eqc(u.scheme, "https"))
                complain(c, "service-account-jwks-uri requires https scheme, parsed as: %" STR_FMT, STR_ARG(uri));
}

static void check_oidc(struct check *c) {
        bool any = false;

        for (const char *const *a = c->args; a && *a; a++)
                any = any || strncmp(*a, "oidc-", 5) == 0;
        if (any && given(c, "authentication-config").n)
                complain(c, "authentication-config file and oidc-* flags are mutually exclusive");
        else if (any && (!given(c, "oidc-issuer-url").n || !given(c, "oidc-client-id").n))
                complain(c, "oidc-issuer-url and oidc-client-id must be specified together when any oidc-* "
                            "flags are set");
}

static void check_logging(struct check *c) {
        static const char *const alpha[][2] = {
                { "log-text-split-stream", "text.splitStream" },
                { "log-text-info-buffer-size", "text.infoBufferSize" },
                { "log-json-split-stream", "json.splitStream" },
                { "log-json-info-buffer-size", "json.infoBufferSize" },
        };
        const char *format = NULL;

        for (const char *const *a = c->args; a && *a; a++) /* an empty one is wrong, too */
                if (strncmp(*a, "logging-format=", 15) == 0)
                        format = *a + 15;
        if (format && strcmp(format, "text") != 0 && strcmp(format, "json") != 0)
                complain(c, "format: Invalid value: \"%s\": Unsupported log format", format);
        for (size_t i = 0; i < ARRAY_SIZE(alpha); i++) {
                struct str text = given(c, alpha[i][0]);

                if (text.n && !str_eqc(text, "0") && !str_eqc(text, "false"))
                        complain(c, "options.%s: Forbidden: Feature LoggingAlphaOptions is disabled", alpha[i][1]);
        }
}

static void check_cache(struct check *c) {
        struct str name;

        each_given(one, c, "watch-cache-sizes") {
                struct str whole = one;
                int64_t n;

                if (!str_split(&one, '#', &name) || name.n == whole.n || str_find(one, '#') >= 0)
                        complain(c, "invalid value of watch cache size: %" STR_FMT, STR_ARG(whole));
                else if (str_to_i64(one, &n) < 0)
                        complain(c, "invalid size of watch cache size: %" STR_FMT, STR_ARG(whole));
                else if (n < 0)
                        complain(c, "watch cache size cannot be negative: %" STR_FMT, STR_ARG(whole));
                if (c->wrong.n)
                        return;
        }
}

static void check_lifetime(struct check *c) {
        struct str text = given(c, "service-account-max-token-expiration");
        int64_t ns = 0;

        if (duration_parse(text, &ns) == 0 && ns != 0 &&
            (ns < 3600 * NSEC_PER_SEC || ns / NSEC_PER_SEC > (int64_t) UINT32_MAX + 1))
                complain(c, "the service-account-max-token-expiration must be between 1 hour and 2^32 seconds");
}

static void check_metrics(struct check *c) {
        struct str shown = given(c, "show-hidden-metrics-for-version");

        if (shown.n && !str_eqc(shown, "1.32"))
                complain(c, "--show-hidden-metrics-for-version must be omitted or have the value '1.32'. Only the "
                            "previous minor version is allowed");
}

static void check_signer(struct check *c) {
        if (given(c, "service-account-signing-endpoint").n && given(c, "service-account-signing-key-file").n)
                complain(c, "service-account-signing-key-file and service-account-signing-endpoint are mutually "
                            "exclusive and cannot be set at the same time");
}

/* Who signs, and as whom: one that is given as nothing is none, and not ours. */
static void check_signing(struct check *c) {
        const char *signs = NULL, *issuer = NULL;

        for (const char *const *a = c->args; a && *a; a++)
                if (strncmp(*a, "service-account-signing-key-file=", 33) == 0)
                        signs = *a + 33;
                else if (!issuer && strncmp(*a, "service-account-issuer=", 23) == 0)
                        issuer = *a + 23;
        if ((signs && !*signs) || (issuer && !*issuer))
                complain(c,
                         "--service-account-signing-key-file, --service-account-issuer, and --api-audiences should be "
                         "specified together");
}

static void check_cors(struct check *c) {
        cors_free(cors_new(c->s, &c->wrong));
}

static void check_headers(struct check *c) {
        static const char *const lists[] = { "requestheader-username-headers", "requestheader-group-headers",
                                             "requestheader-extra-headers-prefix", "requestheader-allowed-names",
                                             "requestheader-uid-headers" };
        bool any = false, standard = false;

        for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
                any = standard = false;
                each_given(one, c, lists[i]) {
                        if (str_empty(str_trim(one)))
                                complain(c, "empty value in \"%s\"", lists[i]);
                        any = true;
                        standard = standard || str_eq_fold(one, STR("x-remote-uid"));
                }
        }
        if (any && !standard)
                complain(c, "--requestheader-uid-headers is set without specifying the standard X-Remote-Uid header - "
                            "API aggregation will not work");
}

static void check_modes(struct check *c) {
        static const struct {
                const char *mode, *flag, *file;
        } files[] = { { "ABAC", "authorization-policy-file", "authorization policy file" },
                      { "Webhook", "authorization-webhook-config-file", "authorization config file" } };
        struct str modes = given(c, "authorization-mode");
        _cleanup_buf_ struct buf all = BUF_INIT;
        bool twice = false;

        if (given(c, "authorization-config").n) {
                bool both = modes.n > 0;

                each_word(flag, "config-file", "version", "cache-authorized-ttl", "cache-unauthorized-ttl")
                        both |= given(c, arena_printf(c->arena, "authorization-webhook-%s", flag).p).n > 0;
                if (both)
                        complain(c, "--authorization-config can not be specified when --authorization-mode or "
                                    "--authorization-webhook-* flags are defined");
                return;
        }
        each_given(mode, c, "authorization-mode") {
                if (!str_is_part(mode, ' ', STR("AlwaysAllow AlwaysDeny ABAC Webhook RBAC Node")))
                        complain(c, "authorization-mode %" STR_FMT " is not a valid mode",
                                 STR_ARG(quoted_in_go(c->arena, mode)));
                for (size_t i = 0; i < ARRAY_SIZE(files); i++)
                        if (str_eqc(mode, files[i].mode) && !given(c, files[i].flag).n)
                                complain(c, "authorization-mode %s's %s not passed", files[i].mode, files[i].file);
                twice = twice || str_is_part(quoted_in_go(c->arena, mode), ' ', buf_str(&all));
                buf_printf(&all, "%s%" STR_FMT, all.n ? " " : "", STR_ARG(quoted_in_go(c->arena, mode)));
        }
        for (size_t i = 0; i < ARRAY_SIZE(files); i++)
                if (given(c, files[i].flag).n && !str_is_part(str_of(files[i].mode), ',', modes))
                        complain(c, "cannot specify --%s without mode %s", files[i].flag, files[i].mode);
        if (twice)
                complain(c, "authorization-mode [%" STR_FMT "] has mode specified more than once",
                         STR_ARG(buf_str(&all)));
}

static void check_plugins(struct check *c) {
        admission_choose(c->s, &c->wrong);
}

static void check_cidrs(struct check *c) {
        allocator_check_words(c->s, &c->wrong);
}

static void check_families(struct check *c) {
        allocator_check(c->s, &c->wrong);
}

/* What needs a feature that is alpha, and so off. */
static void check_alpha(struct check *c) {
        static const char *const peers[] = { "peer-ca-file", "peer-advertise-ip", "peer-advertise-port" };

        for (size_t i = 0; i < ARRAY_SIZE(peers); i++)
                if (given(c, peers[i]).n)
                        complain(c, "--%s requires UnknownVersionInteroperabilityProxy feature to be turned on",
                                 peers[i]);
        if (!given(c, "service-account-signing-endpoint").n)
                return;
        if (given(c, "service-account-key-file").n)
                complain(c, "can't set `--service-account-signing-key-file` and/or `--service-account-key-file` with "
                            "`--service-account-signing-endpoint` (They are mutually exclusive)");
        complain(c, "setting `--service-account-signing-endpoint` requires enabling "
                    "ExternalServiceAccountTokenSigner feature gate");
}

/* The last of all; the sum is looked at only where nothing else is wrong. */
static void check_counts(struct check *c) {
        struct str count = given(c, "apiserver-count"), reads = given(c, "max-requests-inflight"),
                   writes = given(c, "max-mutating-requests-inflight");
        int64_t n;

        if (count.n && str_to_i64(count, &n) == 0 && n <= 0)
                complain(c, "--apiserver-count should be a positive number, but value '%lld' provided", (long long) n);
        if (c->wrong.n == 0 && str_eqc(reads, "0") && str_eqc(writes, "0") &&
            !str_eqc(given(c, "enable-priority-and-fairness"), "false"))
                complain(c, "invalid configuration: MaxRequestsInFlight=0 and MaxMutatingRequestsInFlight=0; they must "
                            "add up to something positive");
}

int apiserver_flags_check(const struct apiserver *s, struct error *err) {
        /* each of the first ends the start by itself, what the others find is told together */
        static void (*const first[])(struct check * c) = { check_logging, check_cidrs, check_lifetime, check_signer,
                                                           check_cache };
        static void (*const checks[])(struct check *
                                      c) = { check_numbers, check_hsts,     check_cors,     check_versions,
                                             check_storage, check_fairness, check_oidc,     check_issuers,
                                             check_headers, check_modes,    check_plugins,  check_signing,
                                             check_metrics, check_alpha,    check_families, check_counts };
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct check c = { .s = s, .args = s->options.args, .arena = a };

        for (size_t i = 0; i < ARRAY_SIZE(first) && c.wrong.n == 0; i++)
                first[i](&c);
        for (size_t i = 0, n = c.wrong.n; i < ARRAY_SIZE(checks) && n == 0; i++)
                checks[i](&c);
        return faults_finish(&c.wrong, err);
}
