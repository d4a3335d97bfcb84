/* Validation: errors collected with the path of the field, in upstream's words.
 * Private to src/apiserver. A path is a chain of stack nodes: it costs nothing until an error prints it. */
#pragma once

#include "base/vec.h"
#include "json/object.h"
#include "schema/schema.h"

struct path {
        const struct path *up;
        const char *name; /* ".name", or NULL */
        struct str key;   /* "[key]" when name is NULL and key.p is set */
        ssize_t index;    /* "[index]" when both are absent; PATH_IS_CHILD: the key is printed like a name */
};
#define PATH_IS_CHILD (-1)
#define PATH_DOT(up, k) (&(struct path){ (up), NULL, (k), PATH_IS_CHILD })
#define PATH(up, n) (&(struct path){ (up), (n), { NULL, 0 }, 0 })
#define PATH_KEY(up, k) (&(struct path){ (up), NULL, (k), 0 })
#define PATH_INDEX(up, i) (&(struct path){ (up), NULL, { NULL, 0 }, (ssize_t) (i) })
void path_print(struct buf *dst, const struct path *p);

#define GET(o, k) json_getc((o), (k))
#define TEXT(o, k) json_str(json_getc((o), (k)))
/* The items of a list, each at its path; each word that is given. */
#define each_at(it, at, p, list)                                                                             \
        for (struct path at##_here = { (p), NULL, { NULL, 0 }, 0 }, *at = &at##_here; at; at = NULL)         \
                for (struct json *it = json_is((list), JSON_ARRAY) ? (list)->items : NULL,                   \
                                 *it##_end = it ? it + (list)->len : NULL; it != it##_end; it++, at->index++)
#define WORDS(...) ((const char *const[]) { __VA_ARGS__, NULL })
#define each_word(w, ...) for (const char *const *w##_at = WORDS(__VA_ARGS__), *w; (w = *w##_at); w##_at++)

struct field_error {
        int phase;
        const char *type; /* "FieldValueInvalid" */
        struct str field, body;
};
struct field_errors {
        struct arena *a;
        VEC(struct field_error) list; /* at most 100 */
        const struct json *claims;    /* volumeClaimTemplates: volumes that the pods of a template will have */
        /* The object that is looked at and its type; NULL for others than those of the built-in groups. */
        const struct json *object;
        const struct schema_type *type;
        int phase; /* below 0: told before what is found in the object itself, which is told by field; above 0: after */
};

void field_required(struct field_errors *fe, const struct path *p,
                    const char *detail); /* detail may be "" everywhere */
void field_forbidden(struct field_errors *fe, const struct path *p, const char *fmt, ...) _printf_(3, 4);
void field_internal(struct field_errors *fe, const struct path *p, const char *detail);
/* value may be NULL: null. */
void field_invalid(struct field_errors *fe, const struct path *p, const struct json *value, const char *fmt, ...)
                _printf_(4, 5);
#define invalid_at(fe, p, o, k, ...) field_invalid((fe), PATH((p), (k)), GET((o), (k)), __VA_ARGS__)
void field_invalid_str(struct field_errors *fe, const struct path *p, struct str value, const char *fmt, ...)
                _printf_(4, 5);
/* Without showing the value. */
void field_invalid_whole(struct field_errors *fe, const struct path *p, const char *detail);
void field_not_supported(struct field_errors *fe, const struct path *p, struct str value, const char *const *supported);
void field_duplicate(struct field_errors *fe, const struct path *p, struct str value);
void field_not_found(struct field_errors *fe, const struct path *p, struct str value);
/* The same with values that need not be texts. */
void field_type_invalid(struct field_errors *fe, const struct path *p, const struct json *value, const char *fmt, ...)
                _printf_(4, 5);
void field_not_supported_value(struct field_errors *fe, const struct path *p, const struct json *value,
                               const char *const *supported);
void field_duplicate_value(struct field_errors *fe, const struct path *p, const struct json *value);
void field_duplicate_detail(struct field_errors *fe, const struct path *p, const struct json *value,
                            const char *detail);
void field_error_add(struct field_errors *fe, const struct field_error *e); /* one that was made elsewhere */
/* How Go shows a value that is refused, or (in_go) a quantity or IntOrString that is; what differs in values of the
 * type t, as lines of "- " and "+ " (go_text.c). */
struct str go_value(struct field_errors *fe, const struct path *p, const struct json *v);
const struct json *in_go(struct arena *a, enum schema_kind kind, const struct json *v);
struct str go_diff(struct arena *a, const struct schema_type *t, const struct json *old, const struct json *now);
struct str quoted_in_go(struct arena *a, struct str s);
void field_too_long(struct field_errors *fe, const struct path *p, size_t max);
void field_too_many(struct field_errors *fe, const struct path *p, size_t n, size_t max);
/* 0 when there are none, else -EINVAL: `Pod "x" is invalid: …` with its causes. Of no kind at all (NULL, for
 * files): the list alone. */
int field_errors_finish(struct field_errors *fe, struct str kind, struct str group, struct str name, struct error *err);

/* ---- texts: each says what is wrong with it (at most two messages), or nothing ---- */

typedef size_t (*name_check)(struct str s, const char *ret[2]);
size_t check_dns_label(struct str s, const char *ret[2]);
size_t check_dns_subdomain(struct str s, const char *ret[2]);
size_t check_dns1035_label(struct str s, const char *ret[2]);
size_t check_path_segment(struct str s, const char *ret[2]);
size_t check_any_name(struct str s, const char *ret[2]);
size_t check_qualified_name(struct str s, const char *ret[2]);
size_t check_label_value(struct str s, const char *ret[2]);
size_t check_config_key(struct str s, const char *ret[2]);
size_t check_env_name(struct str s, const char *ret[2]);
size_t check_port_name(struct str s, const char *ret[2]);
struct str str_lower(struct arena *a, struct str s);
/* Adds an Invalid error for each message; true when s is fine. */
bool check_field(struct field_errors *fe, const struct path *p, struct str s, name_check check);
/* What is refused if so: the names of the rest are those of field_*(); fe is the errors of the function. */
#define REFUSE_IF(kind, cond, ...)                      \
        do {                                            \
                if (cond)                               \
                        field_##kind(fe, __VA_ARGS__);  \
        } while (0)
#define REQUIRED_IF(cond, ...) REFUSE_IF(required, cond, __VA_ARGS__)
#define FORBIDDEN_IF(cond, ...) REFUSE_IF(forbidden, cond, __VA_ARGS__)
#define INVALID_IF(cond, ...) REFUSE_IF(invalid, cond, __VA_ARGS__)
#define INVALID_STR_IF(cond, ...) REFUSE_IF(invalid_str, cond, __VA_ARGS__)
/* A function that looks at what is at p. */
#define CHECK(name, ...) static void name(struct field_errors *fe, const struct path *p, __VA_ARGS__)

/* The same of a member of o: one that must be there, one that may be; a text that must be there. */
void check_needed(struct field_errors *fe, const struct path *p, const struct json *o, const char *key,
                  const char *detail, name_check check);
void check_given(struct field_errors *fe, const struct path *p, const struct json *o, const char *key,
                 name_check check);
bool require_text(struct field_errors *fe, const struct path *p, const struct json *o, const char *key,
                  const char *detail);
void check_count(struct field_errors *fe, const struct path *p, const struct json *list, size_t max);
void check_length_of(struct field_errors *fe, const struct path *p, size_t n, size_t max); /* of a text, in bytes */
bool has_backsteps(struct str path); /* a step of it is ".." */
void check_domain_path(struct field_errors *fe, const struct path *p, struct str s); /* "example.com/some-path" */

/* ---- numbers ---- */

void check_nonnegative(struct field_errors *fe, const struct path *p, const struct json *v); /* absent is fine */
void check_positive(struct field_errors *fe, const struct path *p, const struct json *v);
bool check_port(struct field_errors *fe, const struct path *p, const struct json *v);
void check_port_or_name(struct field_errors *fe, const struct path *p, const struct json *v); /* IntOrString */
/* IntOrString: a number >= 0 or a percentage. */
void check_int_or_percent(struct field_errors *fe, const struct path *p, const struct json *v);
void check_share(struct field_errors *fe, const struct path *p, const struct json *v); /* and not above 100% */
bool check_enum(struct field_errors *fe, const struct path *p, struct str v, const char *const *values);
/* 4, 6 or 0 when s is no address; ret: its 4 or 16 bytes. ::ffff:1.2.3.4 is of family 4, as in Go, which also reads
 * 010 as 10. */
int parse_ip(struct str s, uint8_t ret[static 16]);
void check_ip(struct field_errors *fe, const struct path *p, struct str s);
void check_cidr(struct field_errors *fe, const struct path *p, struct str s);
/* Not unspecified, loopback or link-local. */
void check_not_special_ip(struct field_errors *fe, const struct path *p, struct str s);
/* The old value must still be there. */
void check_immutable(struct field_errors *fe, const struct path *p, const struct json *now, const struct json *old);

/* ---- parts shared by kinds ---- */

bool is_extended_resource(struct str name); /* "example.com/gpu" */
void check_taint_effect(struct field_errors *fe, const struct path *p, struct str effect);
/* A name of a resource, and how much of it. */
void check_resource_name(struct field_errors *fe, const struct path *p, struct str name, bool of_container);
void check_resources(struct field_errors *fe, const struct path *p, const struct json *limits,
                     const struct json *requests);
void check_resource_quantity(struct field_errors *fe, const struct path *p, struct str name, const struct json *v);
void validate_metadata(struct field_errors *fe, const struct json *obj, const struct json *old, bool namespaced,
                       name_check name);
/* Finalizers without a domain are those that Kubernetes has. */
void check_standard_finalizers(struct field_errors *fe, const struct path *p, const struct json *list, bool indexed);
/* The same of an object that is within another; old is unknown. */
void validate_embedded_metadata(struct field_errors *fe, const struct path *up, const struct json *obj);
void validate_labels(struct field_errors *fe, const struct path *p, const struct json *labels);
/* clientConfig of a webhook that the API server calls. */
void validate_webhook_client(struct field_errors *fe, const struct path *p, const struct json *client);
void validate_claim_spec(struct field_errors *fe, const struct path *p, const struct json *spec);
void validate_annotations(struct field_errors *fe, const struct path *p, const struct json *annotations);
void validate_label_selector(struct field_errors *fe, const struct path *p, const struct json *selector);
/* Of access reviews: operators may be others than we know. */
enum requirement_of { REQUIREMENT_OF_SELECTOR, REQUIREMENT_OF_LABELS, REQUIREMENT_OF_FIELDS };
void validate_requirements(struct field_errors *fe, const struct path *list, const struct json *requirements,
                           enum requirement_of of);
/* fieldRef of a variable or file, resourceFieldRef of one. */
void check_reference(struct field_errors *fe, const struct path *p, const struct json *ref, bool field, bool volume);
/* Of a pod's spec: what the named operating system does not have; sysctls of namespaces that are the host's. */
void check_os_fields(struct field_errors *fe, const struct path *p, const struct json *spec);
void check_host_processes(struct field_errors *fe, const struct path *p, const struct json *spec);
void check_host_sysctls(struct field_errors *fe, const struct path *p, const struct json *spec);

/* The rules of api/ and the enumerations, outside of metadata and status (validate_rules.c). */
/* The rules of the status itself, not of what is in it. */
void validate_status_rules(struct field_errors *fe, const struct schema_type *t, const struct json *obj);
void validate_typed(struct field_errors *fe, const struct schema_type *t, const struct json *obj);

/* ---- kinds (validate_*.c), for the table in strategy.c ---- */

#define VALIDATE(name) void name(struct field_errors *fe, const struct json *obj, const struct json *old)
VALIDATE(validate_pod);
VALIDATE(validate_pod_status);
VALIDATE(validate_ephemeral_update);
VALIDATE(validate_resize);
VALIDATE(validate_deployment);
VALIDATE(validate_replicaset);
VALIDATE(validate_statefulset);
VALIDATE(validate_daemonset);
VALIDATE(validate_collisions);
VALIDATE(validate_replication_controller);
VALIDATE(validate_job);
VALIDATE(validate_job_status);
VALIDATE(validate_cronjob);
VALIDATE(validate_service);
VALIDATE(validate_service_status);
/* clusterIP, clusterIPs, ipFamilies and ipFamilyPolicy, alone and together; old is not looked at. */
VALIDATE(validate_service_addresses);
VALIDATE(validate_endpoints);
VALIDATE(validate_endpoint_slice);
VALIDATE(validate_node);
VALIDATE(validate_config_map);
VALIDATE(validate_secret);
VALIDATE(validate_pvc);
VALIDATE(validate_pvc_status);
VALIDATE(validate_namespace);
VALIDATE(validate_namespace_status);
VALIDATE(validate_pv);
VALIDATE(validate_storage_class);
VALIDATE(validate_storage_capacity);
VALIDATE(validate_csi_driver);
VALIDATE(validate_csi_node);
VALIDATE(validate_volume_attachment);
VALIDATE(validate_revision);
VALIDATE(validate_ip_address);
VALIDATE(validate_service_cidr);
VALIDATE(validate_resource_quota);
VALIDATE(validate_resource_quota_status);
VALIDATE(validate_limit_range);
VALIDATE(validate_priority_class);
VALIDATE(validate_ingress);
VALIDATE(validate_ingress_status);
VALIDATE(validate_ingress_class);
VALIDATE(validate_network_policy);
VALIDATE(validate_pdb);
VALIDATE(validate_hpa);
VALIDATE(validate_role);
VALIDATE(validate_binding);
VALIDATE(validate_lease);
VALIDATE(validate_runtime_class);
VALIDATE(validate_csr_update);
VALIDATE(validate_csr_status);
VALIDATE(validate_event);
VALIDATE(validate_webhooks);
VALIDATE(validate_policy);
VALIDATE(validate_policy_binding);
VALIDATE(validate_flow_schema);
VALIDATE(validate_priority_level);
