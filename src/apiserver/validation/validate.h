/* Validation: errors collected with the path of the field, in upstream's words.
 * Private to src/apiserver. A path is a chain of stack nodes: it costs nothing until an error prints it. */
#pragma once

#include "base/vec.h"
#include "json/object.h"
#include "schema/names.h"
#include "schema/schema.h"

struct path {
        const struct path *up;
        const char *name; /* ".name", or NULL */
        struct str key;   /* "[key]" when name is NULL and key.p is set */
        ssize_t index;    /* "[index]" when both are absent; PATH_IS_CHILD: the key is printed like a name */
};
#define PATH_IS_CHILD (-1)
#define PATH_DOT(up, k) (&(struct path) { (up), NULL, (k), PATH_IS_CHILD })
#define PATH(up, n) (&(struct path) { (up), (n), { NULL, 0 }, 0 })
#define PATH_KEY(up, k) (&(struct path) { (up), NULL, (k), 0 })
#define PATH_INDEX(up, i) (&(struct path) { (up), NULL, { NULL, 0 }, (ssize_t) (i) })
void path_print(struct buf *dst, const struct path *p);

#define GET(o, k) json_getc((o), (k))
#define TEXT(o, k) json_str(json_getc((o), (k)))
/* The items of a list, each at its path, all of them or while fe takes errors; each word that is given. */
#define each_told(it, at, p, list)       \
        each_at(it, at, p, list)         \
                if (errors_are_many(fe)) \
                        break;           \
                else
#define each_at(it, at, p, list)                                                                        \
        for (struct path at##_here = { (p), NULL, { NULL, 0 }, 0 }, *at = &at##_here; at; at = NULL)    \
                for (struct json * it##_end, *it = json_begin_items((list), &it##_end); it != it##_end; \
                     it++, at->index++)
#define each_word(w, ...) for (const char *const *w##_at = WORDS(__VA_ARGS__), *w; (w = *w##_at); w##_at++)

struct field_error {
        int phase;
        const char *type; /* "FieldValueInvalid" */
        struct str field, body;
        struct str at; /* where it stands among the others: the field by its real name */
};
struct map;
struct field_errors {
        struct arena *a;
        VEC(struct field_error) list; /* in the arena */
        size_t told;                  /* the bytes of their bodies */
        /* The object that is looked at and its type; NULL for others than those of the built-in groups. */
        const struct json *object;
        const struct schema_type *type;
        const struct json *sent; /* the whole of it in the request; or NULL */
        const struct json *old;  /* what an update changes, whichever look at it this is; or NULL */
        int phase; /* below 0: told before what is found in the object itself, which is told by field; above 0: after */
        const struct path *at; /* what is found now stands here among the others, whatever its path; or NULL */
        struct map *volumes;   /* of the pod: those by name that mounts may name; NULL: not looked at */
};
/* One call that tells something at a place of upstream's order. */
#define TELL_AT(place, ...)       \
        do {                      \
                fe->at = (place); \
                __VA_ARGS__;      \
                fe->at = NULL;    \
        } while (0)

/* That no more are taken: a client that sent so many does not read them, and whole lists may be in each. */
bool errors_are_many(const struct field_errors *fe);

/* What looks at a value, or at a text. */
typedef void check_of_json(struct field_errors *fe, const struct path *p, const struct json *v);
typedef void check_of_str(struct field_errors *fe, const struct path *p, struct str s);

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
check_of_str field_duplicate, field_not_found;
/* The same with values that need not be texts. */
void field_type_invalid(struct field_errors *fe, const struct path *p, const struct json *value, const char *fmt, ...)
                _printf_(4, 5);
void field_not_supported_value(struct field_errors *fe, const struct path *p, const struct json *value,
                               const char *const *supported);
check_of_json field_duplicate_value;
void field_duplicate_detail(struct field_errors *fe, const struct path *p, const struct json *value,
                            const char *detail);
/* Whether something is wrong with what is at p, or within; and nothing is told of it any more. */
bool errors_at(const struct field_errors *fe, const struct path *p);
void forget_errors_at(struct field_errors *fe, const struct path *p);
void field_error_add(struct field_errors *fe, const struct field_error *e); /* one that was made elsewhere */
/* How Go shows a value that is refused, or (in_go) a quantity or IntOrString that is; what differs in values of the
 * type t, the new one as it was sent, as lines of "- " and "+ " (go_text.c). */
struct str go_value(struct field_errors *fe, const struct path *p, const struct json *v);
const struct json *in_go(struct arena *a, enum schema_kind kind, const struct json *v);
struct str go_diff(struct arena *a, const struct schema_type *t, const struct json *old, const struct json *now,
                   const struct json *sent);
struct str quoted_in_go(struct arena *a, struct str s);
void field_too_long(struct field_errors *fe, const struct path *p, size_t max);
void field_too_many(struct field_errors *fe, const struct path *p, size_t n, size_t max);
/* 0 when there are none, else -EINVAL: `Pod "x" is invalid: …` with its causes. Of no kind at all (NULL, for
 * files): the list alone. */
int field_errors_finish(struct field_errors *fe, struct str kind, struct str group, struct str name, struct error *err);

/* --allow-privileged, for all servers of this process: it is true until somebody says otherwise. */
void validate_allow_privileged(bool allowed);

/* ---- texts: each says what is wrong with it or nothing ---- */

struct str str_lower(struct arena *a, struct str s);
/* Adds an Invalid error for each message; true when s is fine. */
bool check_field(struct field_errors *fe, const struct path *p, struct str s, name_check check);
/* The same as one error, with what stands between the messages. */
bool check_joined(struct field_errors *fe, const struct path *p, struct str s, name_check check, const char *between);
/* What is refused if so: the names of the rest are those of field_*(); fe is the errors of the function. */
#define REFUSE_IF(kind, cond, ...)                     \
        do {                                           \
                if (cond)                              \
                        field_##kind(fe, __VA_ARGS__); \
        } while (0)
#define REQUIRED_IF(cond, ...) REFUSE_IF(required, cond, __VA_ARGS__)
#define FORBIDDEN_IF(cond, ...) REFUSE_IF(forbidden, cond, __VA_ARGS__)
#define INVALID_IF(cond, ...) REFUSE_IF(invalid, cond, __VA_ARGS__)
#define INVALID_STR_IF(cond, ...) REFUSE_IF(invalid_str, cond, __VA_ARGS__)
/* A function that looks at what is at p. */
#define CHECK(name, ...) static void name(struct field_errors *fe, const struct path *p, __VA_ARGS__)

void check_prefix(struct field_errors *fe, const struct path *p, struct str s, name_check check); /* of a name */

/* The same of a member of o: one that must be there, one that may be; a text that must be there. */
void check_needed(struct field_errors *fe, const struct path *p, const struct json *o, const char *key,
                  const char *detail, name_check check);
void check_given(struct field_errors *fe, const struct path *p, const struct json *o, const char *key,
                 name_check check);
bool require_text(struct field_errors *fe, const struct path *p, const struct json *o, const char *key,
                  const char *detail);
void check_count(struct field_errors *fe, const struct path *p, const struct json *list, size_t max);
void check_length_of(struct field_errors *fe, const struct path *p, size_t n, size_t max); /* of a text, in bytes */
bool has_backsteps(struct str path);                                                       /* a step of it is ".." */
void check_domain_path(struct field_errors *fe, const struct path *p, struct str s);       /* "example.com/some-path" */

/* ---- numbers ---- */

void check_nonnegative(struct field_errors *fe, const struct path *p, const struct json *v); /* absent is fine */
check_of_json check_positive;
bool check_port(struct field_errors *fe, const struct path *p, const struct json *v);
void check_port_or_name(struct field_errors *fe, const struct path *p, const struct json *v); /* IntOrString */
/* IntOrString: a number >= 0 or a percentage. */
check_of_json check_int_or_percent, check_not_above_all; /* 100%; what is no percentage is fine */
bool check_enum(struct field_errors *fe, const struct path *p, struct str v, const char *const *values);
/* 4, 6 or 0 when s is no address; ret: its 4 or 16 bytes. ::ffff:1.2.3.4 is of family 4, as in Go, which also reads
 * 010 as 10. */
int parse_ip(struct str s, uint8_t ret[static 16]);
check_of_str check_ip, check_cidr;
/* PodIPs, or CIDRs: one, or one of each family. */
void check_stack(struct field_errors *fe, const struct path *p, const struct json *list, bool cidrs);
/* Not unspecified, loopback or link-local. */
check_of_str check_not_special_ip;
/* What the request says at a path; NULL: nothing. */
const struct json *field_sent(const struct field_errors *fe, const struct path *p);
/* Whether Go's reflection sees a change in a map of the object, to which an empty one that was sent is not none. */
bool map_differs(const struct field_errors *fe, const char *key, const struct json *now, const struct json *old);
/* The old value must still be there. */
void check_immutable(struct field_errors *fe, const struct path *p, const struct json *now, const struct json *old);

/* ---- parts shared by kinds ---- */

bool is_extended_resource(struct str name); /* "example.com/gpu" */
check_of_str check_taint_effect;
bool may_overcommit(struct str resource);
/* What an annotation says in JSON; NULL: nothing, or an error at p. */
const struct json *annotation_json(struct field_errors *fe, const struct path *p, const struct json *annotations,
                                   const char *key);
/* A name of a resource, and how much of it. */
void check_resource_name(struct field_errors *fe, const struct path *p, struct str name, bool of_container);
void check_resources(struct field_errors *fe, const struct path *p, const struct json *limits,
                     const struct json *requests);
void check_resource_quantity(struct field_errors *fe, const struct path *p, struct str name, const struct json *v);
void validate_metadata(struct field_errors *fe, const struct json *obj, const struct json *old, bool namespaced,
                       name_check name);
/* One look at it, as an update has them: 'a' as at all objects, 'c' how it may change; 'o' as at an object of its kind,
 * 'u' how that may change. */
void validate_metadata_again(struct field_errors *fe, const struct json *obj, const struct json *old, bool namespaced,
                             name_check name, char look);
/* What was found stands before all that will be. */
void field_errors_settle(struct field_errors *fe);
/* Finalizers without a domain are those that Kubernetes has. */
void check_standard_finalizers(struct field_errors *fe, const struct path *p, const struct json *list, bool indexed);
/* The same of an object that is within another; old is unknown. */
void validate_embedded_metadata(struct field_errors *fe, const struct path *up, const struct json *obj);
check_of_json validate_labels;
/* clientConfig of a webhook that the API server calls. */
check_of_json validate_webhook_client, validate_claim_spec, validate_annotations, validate_label_selector;
/* Of access reviews: operators may be others than we know. */
enum requirement_of { REQUIREMENT_OF_SELECTOR, REQUIREMENT_OF_LABELS, REQUIREMENT_OF_FIELDS };
void validate_requirements(struct field_errors *fe, const struct path *list, const struct json *requirements,
                           enum requirement_of of);
/* fieldRef of a variable or file, resourceFieldRef of one. */
void check_reference(struct field_errors *fe, const struct path *p, const struct json *ref, bool field, bool volume);
/* Of a pod's spec: what the named operating system does not have; sysctls of namespaces that are the host's. */
check_of_json check_os_fields, check_host_processes, check_host_sysctls;

/* Of a pod, and its volumes. */
void validate_containers(struct field_errors *fe, const struct path *spec_path, const struct json *spec);
check_of_json check_image; /* of a container */
/* One field of t and no more is in v: of those that upstream looks at later nothing else is told. Gives the first. */
const struct schema_field *check_alternatives(struct field_errors *fe, const struct path *p, const struct json *v,
                                              const struct schema_type *t, const char *what);
/* p: where a portal is told that is too long for the volume's name. */
void check_portal(struct field_errors *fe, const struct path *p, struct str volume, const struct json *iscsi);
/* name: of the volume; NULL when it is part of another object. */
void validate_volume_spec(struct field_errors *fe, const struct path *p, const struct json *spec,
                          const struct str *name);

/* The rules of api/ and the enumerations, outside of metadata and status (validate_rules.c). */
/* The rules of the status itself, not of what is in it. */
void validate_status_rules(struct field_errors *fe, const struct schema_type *t, const struct json *obj);
void validate_typed(struct field_errors *fe, const struct schema_type *t, const struct json *obj);

/* ---- kinds (validate_*.c), for the table in strategy.c ---- */

/* Annotations of pods that the node and its agent care about; APPARMOR: and the name of a container. */
#define MIRROR "kubernetes.io/config.mirror"
#define MOUNT_OPTIONS "volume.beta.kubernetes.io/mount-options"
#define APPARMOR "container.apparmor.security.beta.kubernetes.io/"

/* validate_service_addresses: clusterIP, clusterIPs, ipFamilies and ipFamilyPolicy, alone and together; old is not
 * looked at. */
typedef void validate_kind(struct field_errors *fe, const struct json *obj, const struct json *old);
validate_kind check_kept_annotations; /* of a pod */
validate_kind validate_pod, validate_pod_status, validate_ephemeral_update, validate_resize, validate_deployment,
                validate_replicaset, validate_statefulset, validate_daemonset, validate_collisions,
                validate_replication_controller, validate_job, validate_job_status, validate_cronjob, validate_service,
                validate_service_status, validate_service_addresses, validate_endpoints, validate_endpoint_slice,
                validate_node, validate_node_status, validate_config_map, validate_secret, validate_pvc,
                validate_pvc_status, validate_namespace, validate_namespace_status, validate_pv, validate_storage_class,
                validate_storage_capacity, validate_csi_driver, validate_csi_node, validate_volume_attachment,
                validate_attachment_status, validate_revision, validate_ip_address, validate_service_cidr,
                validate_resource_quota, validate_resource_quota_status, validate_limit_range, validate_priority_class,
                validate_ingress, validate_ingress_status, validate_ingress_class, validate_network_policy,
                validate_pdb, validate_hpa, validate_role, validate_binding, validate_runtime_class,
                validate_csr_update, validate_csr_status, validate_event, validate_webhooks, validate_policy,
                validate_policy_status, validate_policy_binding, validate_flow_schema, validate_priority_level;
