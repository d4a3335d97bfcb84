/* The core group beside pods, services and volumes: Endpoints, Node, Namespace, ConfigMap, Secret. */
#include <errno.h>

#include <arpa/inet.h>
#include <ctype.h>

#include "apiserver/validation/validate_rules.h"
#include "base/encode.h"
#include "base/map.h"
#include "schema/quantity.h"

int parse_ip(struct str s, uint8_t ret[static 16]) {
        static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
        char text[INET6_ADDRSTRLEN];
        ssize_t colon = str_rfind(s, ':'), dot = str_find(s, '.');
        size_t n = 0;

        for (size_t i = 0; i < s.n && n + 1 < sizeof(text); i++) {
                bool first = (ssize_t) i == colon + 1 || (i > 0 && s.p[i - 1] == '.' && (ssize_t) i > dot);

                while (dot > colon && first && i + 1 < s.n && s.p[i] == '0' && isdigit((unsigned char) s.p[i + 1]))
                        i++;
                text[n++] = s.p[i];
        }
        if (n == 0 || n + 1 == sizeof(text))
                return 0;
        text[n] = '\0';
        memset(ret, 0, 16);
        if (inet_pton(AF_INET, text, ret) == 1)
                return 4;
        if (inet_pton(AF_INET6, text, ret) != 1)
                return 0;
        if (memcmp(ret, mapped, sizeof(mapped)) != 0)
                return 6;
        memmove(ret, ret + 12, 4);
        return 4;
}

void check_ip(struct field_errors *fe, const struct path *p, struct str s) {
        uint8_t b[16];

        INVALID_STR_IF(!parse_ip(s, b), p, s, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
}

void check_not_special_ip(struct field_errors *fe, const struct path *p, struct str s) {
        static const uint8_t none[16] = { 0 }, loop[16] = { [15] = 1 };
        uint8_t b[16];
        int family = parse_ip(s, b);
        bool v4 = family == 4, v6 = family == 6;

        if (!family)
                return;
        INVALID_STR_IF(memcmp(b, none, v4 ? 4 : 16) == 0, p, s, "may not be unspecified (%" STR_FMT ")", STR_ARG(s));
        if ((v4 && b[0] == 127) || (v6 && memcmp(b, loop, 16) == 0))
                field_invalid_str(fe, p, s, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
        if ((v4 && b[0] == 169 && b[1] == 254) || (v6 && b[0] == 0xfe && (b[1] & 0xc0) == 0x80))
                field_invalid_str(fe, p, s, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
        if ((v4 && b[0] == 224 && b[1] == 0 && b[2] == 0) || (v6 && b[0] == 0xff && (b[1] & 0xf) == 2))
                field_invalid_str(fe, p, s, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
}

/* An address that others can send to. */
RULE(plain_ip) {
        uint8_t b[16];

        check_ip(fe, p, json_str(v));
        fe->at = p->up; /* after the rest of the address */
        check_not_special_ip(fe, p, json_str(v));
        INVALID_IF(!parse_ip(json_str(v), b), p, v, "must be a valid IP address");
        fe->at = NULL;
}

/* How many bits of a prefix there are, or -1 when s is none; ret: its address. */
static int64_t parse_cidr(struct str s, uint8_t ret[static 16]) {
        ssize_t slash = str_find(s, '/');
        struct str ip = slash < 0 ? STR("") : str_sub(s, 0, (size_t) slash);
        int64_t bits = -1;

        if (slash < 0 || str_to_i64(str_sub(s, (size_t) slash + 1, s.n), &bits) < 0 || !parse_ip(ip, ret) ||
            bits > (str_find(ip, ':') < 0 ? 32 : 128))
                return -1;
        return bits;
}

RULE(ip_block) {
        struct str cidr = TEXT(v, "cidr");
        uint8_t outer[16], inner[16];
        int64_t bits = parse_cidr(cidr, outer);
        size_t i = 0;

        json_each_item(e, bits < 0 ? NULL : GET(v, "except")) {
                int64_t more = parse_cidr(json_str(e), inner), k = 0;
                bool same = (str_find(cidr, ':') < 0) == (str_find(json_str(e), ':') < 0);

                while (same && k < bits && ((outer[k / 8] ^ inner[k / 8]) & (0x80 >> (k % 8))) == 0)
                        k++;
                if (more >= 0 && (!same || k < bits || bits >= more))
                        field_invalid(fe, PATH_INDEX(PATH(p, "except"), i), e, "must be a strict subset of `cidr`");
                i++;
        }
}

void check_cidr(struct field_errors *fe, const struct path *p, struct str s) {
        uint8_t b[16];

        INVALID_STR_IF(parse_cidr(s, b) < 0, p, s, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
}

void validate_endpoints(struct field_errors *fe, const struct json *obj, const struct json *old) {
        each_at(s, p, PATH(NULL, "subsets"), GET(obj, "subsets")) {
                const struct path *ports = PATH(p, "ports");

                if (json_len(GET(s, "addresses")) + json_len(GET(s, "notReadyAddresses")) == 0)
                        field_required(fe, p, "must specify `addresses` or `notReadyAddresses`");
                each_at(port, at, ports, GET(s, "ports"))
                        if (str_empty(TEXT(port, "name")) && json_len(GET(s, "ports")) > 1)
                                field_required(fe, PATH(at, "name"), "");
        }
}

CHECK(check_taints, const struct json *taints) {
        _cleanup_(map_freep) struct map *seen = map_new(NULL);

        each_at(t, at, p, taints) {
                check_field(fe, PATH(at, "key"), TEXT(t, "key"), check_qualified_name);
                check_joined(fe, PATH(at, "value"), TEXT(t, "value"), check_label_value, ";");
                if (str_empty(TEXT(t, "effect")))
                        field_required(fe, PATH(at, "effect"), "");
                else
                        check_taint_effect(fe, PATH(at, "effect"), TEXT(t, "effect"));
                if (!map_put(seen,
                             arena_printf(fe->a, "%" STR_FMT "\n%" STR_FMT, STR_ARG(TEXT(t, "key")),
                                          STR_ARG(TEXT(t, "effect"))),
                             t))
                        field_duplicate_detail(fe, at, t, "taints must be unique by key and effect pair");
        }
}

void check_taint_effect(struct field_errors *fe, const struct path *p, struct str effect) {
        check_enum(fe, p, effect, WORDS("NoSchedule", "PreferNoSchedule", "NoExecute"));
}

static void check_node_resources(struct field_errors *fe, const struct json *status) {
        each_word(word, "capacity", "allocatable")
                json_each_member(m, GET(status, word)) {
                        const struct path *at = PATH_DOT(PATH(PATH(NULL, "status"), word), json_key(m));

                        check_resource_quantity(fe, at, json_key(m), &m->value);
                }
}

void check_stack(struct field_errors *fe, const struct path *p, const struct json *list, bool cidrs) {
        size_t v6 = 0, n = json_len(list);
        struct str wrong = STR("");
        uint8_t b[16];

        for (size_t i = 0; i < n; i++) {
                const struct json *it = json_item(list, i);
                struct str s = cidrs ? json_str(it) : TEXT(it, "ip");
                bool fine = cidrs ? parse_cidr(s, b) >= 0 : parse_ip(s, b);

                (cidrs ? check_cidr : check_ip)(fe, PATH_INDEX(p, i), s);
                v6 += cidrs ? str_find(s, ':') >= 0 : parse_ip(s, b) == 6;
                if (!fine && str_empty(wrong))
                        wrong = arena_printf(fe->a,
                                             cidrs ? "invalid PodCIDRs. failed to check with dual stack with error:"
                                                     "invalid CIDR[%zu]: <nil> (invalid CIDR address: %" STR_FMT ")"
                                                   : "failed to check for dual stack with error:invalid IP[%zu]: "
                                                     "%" STR_FMT,
                                             i, STR_ARG(s));
        }
        REFUSE_IF(internal, n > 1 && wrong.n, p, wrong.p);
        INVALID_IF(n > 1 && (n != 2 || v6 != 1 || wrong.n), p, list,
                   "may specify no more than one %s for each IP family", cidrs ? "CIDR" : "IP");
}

CHECK(check_node_annotations, const struct json *annotations);

/* How a node may change, which is all that is asked of its status too. */
void validate_node_status(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct path *p = PATH(NULL, "spec"), *list = PATH(PATH(NULL, "status"), "addresses");
        const struct json *spec = GET(obj, "spec"), *before = GET(old, "spec"), *cidrs = GET(before, "podCIDRs"),
                          *addresses = json_at_path(obj, "status", "addresses");
        _cleanup_(map_freep) struct map *seen = map_new(NULL);

        check_node_annotations(fe, PATH(PATH(NULL, "metadata"), "annotations"),
                               json_at_path(obj, "metadata", "annotations"));
        check_node_resources(fe, GET(obj, "status"));
        each_at(a, at, list, addresses)
                if (!map_put(seen,
                             arena_printf(fe->a, "%" STR_FMT "\n%" STR_FMT, STR_ARG(TEXT(a, "type")),
                                          STR_ARG(TEXT(a, "address"))),
                             a))
                        field_duplicate_value(fe, at, a);
        for (size_t i = 0, n = json_len(cidrs), same = n == json_len(GET(spec, "podCIDRs")); i < (same ? n : n > 0);
             i++)
                FORBIDDEN_IF(!same || !json_equal(json_item(cidrs, i), json_item(GET(spec, "podCIDRs"), i)),
                             PATH(p, "podCIDRs"), "node updates may not change podCIDR except from \"\" to valid");
        if (!str_empty(TEXT(before, "providerID")) && !str_eq(TEXT(before, "providerID"), TEXT(spec, "providerID")))
                field_forbidden(fe, PATH(p, "providerID"),
                                "node updates may not change providerID except from \"\" to valid");
        check_taints(fe, PATH(PATH(NULL, "metadata"), "taints"), GET(spec, "taints"));
        if (!str_eq(TEXT(before, "externalID"), TEXT(spec, "externalID")))
                field_forbidden(fe, PATH(p, "externalID"), "may not be updated");
}

const struct json *annotation_json(struct field_errors *fe, const struct path *p, const struct json *annotations,
                                   const char *key) {
        _cleanup_error_ struct error e = ERROR_INIT;
        struct str text = TEXT(annotations, key);
        struct json *ret = NULL;

        if (!str_empty(text) && json_parse(fe->a, text, NULL, &ret, &e) < 0)
                field_invalid_str(fe, p, str_of(key), "%s", error_text(&e));
        return ret;
}

#define TAINTS "scheduler.alpha.kubernetes.io/taints"
#define AVOIDED "scheduler.alpha.kubernetes.io/preferAvoidPods"

CHECK(check_node_annotations, const struct json *annotations) {
        if (json_len(annotations) == 0)
                return;
        check_taints(fe, PATH(p, TAINTS), annotation_json(fe, p, annotations, TAINTS));
        const struct json *avoided = annotation_json(fe, PATH(p, "AvoidPods"), annotations, AVOIDED);
        each_at(e, at, PATH(p, AVOIDED), GET(avoided, "preferAvoidPods")) {
                const struct json *owner = json_at_path(e, "podSignature", "podController");
                const struct path *signature = PATH(at, "PodSignature");

                REQUIRED_IF(!owner, signature, "");
                INVALID_IF(owner && !json_bool(GET(owner, "controller")),
                           PATH(PATH(signature, "PodController"), "Controller"), GET(owner, "controller"),
                           "must point to a controller");
        }
}

void validate_node(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct json *swap = json_at_path(obj, "status", "nodeInfo", "swap", "capacity");

        check_node_annotations(fe, PATH(PATH(NULL, "metadata"), "annotations"),
                               json_at_path(obj, "metadata", "annotations"));
        check_taints(fe, PATH(PATH(NULL, "metadata"), "taints"), /* upstream says so */
                     json_at_path(obj, "spec", "taints"));
        check_node_resources(fe, GET(obj, "status"));
        TELL_AT(PATH(NULL, "status"), /* and so */
                INVALID_IF(json_is(swap, JSON_INT) && swap->i <= 0,
                           PATH(PATH(PATH(NULL, "metadata"), "nodeSwapStatus"), "capacity"), swap,
                           "must be greater than zero"));
        check_stack(fe, PATH(PATH(NULL, "spec"), "podCIDRs"), json_at_path(obj, "spec", "podCIDRs"), true);
        fe->phase = 1;
        if (old)
                validate_node_status(fe, obj, old);
        fe->phase = 0;
}

#define MAX_SECRET_SIZE (1024 * 1024)

/* An object marked immutable keeps its data, and the mark. */
static void check_data_immutable(struct field_errors *fe, const struct json *obj, const struct json *old,
                                 const char *const *fields) {
        if (!json_bool(GET(old, "immutable")))
                return;
        fe->phase = -1;
        if (!json_bool(GET(obj, "immutable")))
                field_forbidden(fe, PATH(NULL, "immutable"), "field is immutable when `immutable` is set");
        for (; *fields; fields++) {
                bool always = fields[1]; /* a ConfigMap's data is never none */

                FORBIDDEN_IF(map_differs(fe, always ? "" : *fields, GET(obj, *fields), GET(old, *fields)),
                             PATH(NULL, *fields), "field is immutable when `immutable` is set");
        }
        fe->phase = 0;
}

/* Finalizers of a namespace itself, and how it is. */
void validate_namespace(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct path *p = PATH(PATH(NULL, "spec"), "finalizers");
        const struct json *list = json_at_path(obj, "spec", "finalizers");

        each_at(f, at, p, list) /* a change is one of /finalize */
                check_field(fe, old ? at : p, json_str(f), check_qualified_name);
        check_standard_finalizers(fe, p, list, old);
}

void validate_namespace_status(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct json *phase = json_at_path(obj, "status", "phase");
        bool deleted = json_is(json_at_path(obj, "metadata", "deletionTimestamp"), JSON_STRING);

        if (!str_eqc(json_str(phase), deleted ? "Terminating" : "Active"))
                field_invalid_str(fe, PATH(PATH(NULL, "status"), "Phase"), json_str(phase),
                                  deleted ? "may only be 'Terminating' if `deletionTimestamp` is not empty"
                                          : "may only be 'Active' if `deletionTimestamp` is empty");
}

void validate_config_map(struct field_errors *fe, const struct json *obj, const struct json *old) {
        static const char *const fields[] = { "data", "binaryData", NULL };
        const struct json *binary = GET(obj, "binaryData");
        _cleanup_(map_freep) struct map *keys = json_len(binary) > 0 ? map_new(NULL) : NULL;
        size_t total = 0;

        json_each_member(m, binary)
                map_put(keys, json_key(m), m);

        for (size_t i = 0; i < 2; i++)
                json_each_member(m, GET(obj, fields[i])) {
                        const struct path *p = PATH_KEY(PATH(NULL, fields[i]), json_key(m));

                        check_field(fe, p, json_key(m), check_config_key);
                        if (i == 0 && keys && map_has(keys, json_key(m)))
                                field_invalid_str(fe, p, json_key(m), "duplicate of key present in binaryData");
                        total += i == 0 ? json_str(&m->value).n : json_str(&m->value).n / 4 * 3;
                }
        check_length_of(fe, PATH(NULL, ""), total, MAX_SECRET_SIZE);
        if (old)
                check_data_immutable(fe, obj, old, fields);
}

static void require_key(struct field_errors *fe, const struct json *data, const char *key) {
        REQUIRED_IF(!GET(data, key), PATH_KEY(PATH(NULL, "data"), str_of(key)), "");
}

static void validate_docker_config(struct field_errors *fe, const struct json *data, const char *key) {
        const struct json *v = GET(data, key);
        _cleanup_buf_ struct buf b = BUF_INIT;
        _cleanup_error_ struct error e = ERROR_INIT;
        struct json *j;

        if (!v)
                return require_key(fe, data, key);
        if (base64_decode(&b, json_str(v)) == 0 && json_parse(fe->a, buf_str(&b), NULL, &j, &e) == 0 &&
            !json_is(j, JSON_NULL) && !json_is(j, JSON_OBJECT))
                error_set(&e, -EINVAL, "json: cannot unmarshal %s into Go value of type map[string]interface {}",
                          json_type_in_go(j));
        INVALID_STR_IF(e.err, PATH_KEY(PATH(NULL, "data"), str_of(key)), STR("<secret contents redacted>"), "%s",
                       error_text(&e));
}

void validate_secret(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct json *data = GET(obj, "data");
        struct str type = TEXT(obj, "type");
        size_t total = 0;

        json_each_member(m, data) {
                check_field(fe, PATH_KEY(PATH(NULL, "data"), json_key(m)), json_key(m), check_config_key);
                total += json_str(&m->value).n / 4 * 3;
        }
        check_length_of(fe, PATH(NULL, "data"), total, MAX_SECRET_SIZE);
        if (old) {
                fe->phase = -1;
                INVALID_STR_IF(!str_eq(type, TEXT(old, "type")), PATH(NULL, "type"), type, "field is immutable");
                fe->phase = 0;
                check_data_immutable(fe, obj, old, WORDS("data"));
        }
        if (str_eqc(type, "kubernetes.io/service-account-token")) {
                REQUIRED_IF(str_empty(json_str(json_at_path(obj, "metadata", "annotations",
                                                            "kubernetes.io/service-account.name"))),
                            PATH_KEY(PATH(PATH(NULL, "metadata"), "annotations"),
                                     STR("kubernetes.io/service-account.name")),
                            "");
        } else if (str_eqc(type, "kubernetes.io/dockercfg")) {
                validate_docker_config(fe, data, ".dockercfg");
        } else if (str_eqc(type, "kubernetes.io/dockerconfigjson")) {
                validate_docker_config(fe, data, ".dockerconfigjson");
        } else if (str_eqc(type, "kubernetes.io/basic-auth")) {
                if (!GET(data, "username") && !GET(data, "password")) {
                        require_key(fe, data, "username");
                        require_key(fe, data, "password");
                }
        } else if (str_eqc(type, "kubernetes.io/ssh-auth")) {
                if (json_str(GET(data, "ssh-privatekey")).n == 0)
                        require_key(fe, NULL, "ssh-privatekey");
        } else if (str_eqc(type, "kubernetes.io/tls")) {
                require_key(fe, data, "tls.crt");
                require_key(fe, data, "tls.key");
        }
}
