/* The errors that clients match on, in upstream's words, and metav1.Status made from them. */
#include "apiserver/encryption/encryption.h"
#include "apiserver/request.h"
#include "apiserver/server.h"
#include "apiserver/writes.h"

static struct str kind_of_details(const struct rest *r) {
        return r->plural; /* upstream puts the resource where the name says kind */
}

/* pods "web" */
static void add_called(struct buf *b, const struct rest *r, struct str name) {
        buf_add_str(b, r->qualified);
        buf_putc(b, ' ');
        add_quoted(b, name);
}

int err_not_found(struct error *err, const struct rest *r, struct str name) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        add_called(&b, r, name);
        error_status(err, REASON_NOT_FOUND, "%" STR_FMT " not found", STR_ARG(buf_str(&b)));
        error_details(err, name, r->group, kind_of_details(r));
        return -ENOENT;
}

static int err_exists(struct error *err, const struct rest *r, struct str name) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        add_called(&b, r, name);
        error_status(err, REASON_ALREADY_EXISTS, "%" STR_FMT " already exists", STR_ARG(buf_str(&b)));
        error_details(err, name, r->group, kind_of_details(r));
        return -EEXIST;
}

int err_conflict(struct error *err, const struct rest *r, struct str name, const char *fmt, ...) {
        _cleanup_free_ char *text = variadic(ap, fmt, xvprintf(fmt, ap));
        _cleanup_buf_ struct buf b = BUF_INIT;

        add_called(&b, r, name);
        error_status(err, REASON_CONFLICT, "Operation cannot be fulfilled on %" STR_FMT ": %s", STR_ARG(buf_str(&b)),
                     text);
        error_details(err, name, r->group, kind_of_details(r));
        return -EAGAIN;
}

/* Where upstream keeps an object: under its resource, or a name from its youth. */
static void add_storage_prefix(struct buf *b, const struct rest *r, bool dry_run) {
        static const char *const old_names[][2] = { { "replicationcontrollers", "controllers" },
                                                    { "endpoints", "services/endpoints" },
                                                    { "nodes", "minions" },
                                                    { "services", "services/specs" },
                                                    { "ingresses.networking.k8s.io", "ingress" } };
        struct str key = r->plural;

        for (size_t i = 0; i < ARRAY_SIZE(old_names); i++)
                if (str_eqc(r->qualified, old_names[i][0]))
                        key = str_of(old_names[i][1]);
        buf_addc(b, dry_run ? "/" : "/registry/"); /* a dry run does not get that far */
        if (r->custom || str_eqc(r->group, "apiregistration.k8s.io") || str_eqc(r->group, "apiextensions.k8s.io"))
                buf_printf(b, "%" STR_FMT "/", STR_ARG(r->group));
        buf_add_str(b, key);
}

static void add_storage_key(struct buf *b, const struct op *op) {
        add_storage_prefix(b, op->rest, op->c->options.dry_run);
        if (!str_empty(op->namespace))
                buf_printf(b, "/%" STR_FMT, STR_ARG(op->namespace));
        buf_printf(b, "/%" STR_FMT, STR_ARG(op->name));
}

int err_bad_key(struct error *err, const struct rest *r, struct str namespace, struct str name) {
        _cleanup_buf_ struct buf key = BUF_INIT, text = BUF_INIT;

        add_storage_prefix(&key, r, true);
        buf_printf(&key, "/%" STR_FMT "%s%" STR_FMT, STR_ARG(namespace), str_empty(name) ? "" : "/", STR_ARG(name));
        add_quoted(&text, buf_str(&key));
        return error_status(err, REASON_UNKNOWN, "invalid key: %" STR_FMT, STR_ARG(buf_str(&text)));
}

int op_check_identity(const struct op *op, const char *what, struct str want, struct str is, struct error *err) {
        _cleanup_buf_ struct buf key = BUF_INIT;

        if (str_empty(want) || str_eq(want, is))
                return 0;
        add_storage_key(&key, op);
        return err_conflict(
                        err, op->rest, op->name,
                        "StorageError: invalid object, Code: 4, Key: %" STR_FMT
                        ", ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: %s in precondition: %" STR_FMT
                        ", %s in object meta: %" STR_FMT,
                        STR_ARG(buf_str(&key)), what, STR_ARG(want), what, STR_ARG(is));
}

int err_forbidden(struct error *err, const struct rest *r, struct str name, const char *fmt, ...) {
        _cleanup_free_ char *text = variadic(ap, fmt, xvprintf(fmt, ap));
        _cleanup_buf_ struct buf b = BUF_INIT;

        if (str_empty(name))
                error_status(err, REASON_FORBIDDEN, "%" STR_FMT " is forbidden: %s", STR_ARG(r->qualified), text);
        else {
                add_called(&b, r, name);
                error_status(err, REASON_FORBIDDEN, "%" STR_FMT " is forbidden: %s", STR_ARG(buf_str(&b)), text);
        }
        error_details(err, name, r->group, kind_of_details(r));
        return -EACCES;
}

int err_too_large_revision(struct error *err, uint64_t want, uint64_t now) {
        error_status(err, REASON_TIMEOUT, "Timeout: Too large resource version: %llu, current: %llu",
                     (unsigned long long) want, (unsigned long long) now);
        error_add_cause(err, "ResourceVersionTooLarge", STR(""), "Too large resource version");
        err->retry_after_seconds = 1;
        return -ETIMEDOUT;
}

void add_internal_type(struct buf *b, const struct rest *r) {
        struct str group = str_empty(r->stored->group) ? STR("core") : r->stored->group;
        ssize_t dot = str_find(group, '.');

        group = dot < 0 ? group : str_sub(group, 0, (size_t) dot);
        if (r->custom)
                buf_addc(b, "*unstructured.Unstructured");
        else
                buf_printf(b, "*%" STR_FMT ".%" STR_FMT, STR_ARG(group), STR_ARG(r->kind));
}

/* Upstream's cache of a resource tells the internal type, and is not there before it could read all of them. */
int err_sealed(struct error *err, const struct apiserver *s, const struct rest *r, struct str key,
               enum sealed_for what) {
        _cleanup_buf_ struct buf why = BUF_INIT, at = BUF_INIT, type = BUF_INIT;

        encryption_why(s->options.encryption, key, &why);
        add_storage_prefix(&at, r, false);
        buf_printf(&at, "/%" STR_FMT, STR_ARG(str_sub(key, r->stored->prefix.n, key.n)));
        if (what == SEALED_ONE)
                return error_status(err, REASON_INTERNAL, "Internal error occurred: %" STR_FMT, STR_ARG(buf_str(&why)));
        if (what == SEALED_LIST)
                return error_status(err, REASON_INTERNAL,
                                    "Internal error occurred: unable to transform key \"%" STR_FMT "\": %" STR_FMT,
                                    STR_ARG(buf_str(&at)), STR_ARG(buf_str(&why)));
        add_internal_type(&type, r);
        error_status(err, REASON_TOO_MANY_REQUESTS,
                     "storage is (re)initializing: failed to list %" STR_FMT ": unable to transform key \"%" STR_FMT
                     "\": %" STR_FMT,
                     STR_ARG(buf_str(&type)), STR_ARG(buf_str(&at)), STR_ARG(buf_str(&why)));
        err->retry_after_seconds = 2;
        return err->err;
}

int err_bad_request(struct error *err, const char *fmt, ...) {
        _cleanup_free_ char *text = variadic(ap, fmt, xvprintf(fmt, ap));

        return error_status(err, REASON_BAD_REQUEST, "%s", text);
}

int err_answered(struct error *err, int status, struct str text) {
        static const struct {
                int status;
                enum status_reason reason;
                const char *text; /* NULL: the other side's */
        } table[] = {
                { 400, REASON_BAD_REQUEST, "the server rejected our request for an unknown reason" },
                { 401, REASON_UNAUTHORIZED, "the server has asked for the client to provide credentials" },
                { 403, REASON_FORBIDDEN, NULL },
                { 404, REASON_NOT_FOUND, "the server could not find the requested resource" },
                { 405, REASON_METHOD_NOT_ALLOWED, "the server does not allow this method on the requested resource" },
                { 406, REASON_NOT_ACCEPTABLE, NULL },
                { 409, REASON_CONFLICT, "the server reported a conflict" },
                { 415, REASON_UNSUPPORTED_MEDIA, NULL },
                { 422, REASON_INVALID, "the server rejected our request due to an error in our request" },
                { 429, REASON_TOO_MANY_REQUESTS,
                  "the server has received too many requests and has asked us to try again later" },
                { 503, REASON_UNAVAILABLE, "the server is currently unable to handle the request" },
                { 504, REASON_TIMEOUT,
                  "the server was unable to return a response in the time allotted, but may still be processing the "
                  "request" },
        };
        _cleanup_buf_ struct buf quoted = BUF_INIT;

        if (status == 406 && (str_empty(text) || str_eqc(text, "unknown")))
                text = STR("the server was unable to respond with a content type that the client supports");
        for (size_t i = 0; i < ARRAY_SIZE(table); i++)
                if (status == table[i].status)
                        return error_status(err, table[i].reason, "%" STR_FMT,
                                            STR_ARG(table[i].text ? str_of(table[i].text) : text));
        if (status < 500)
                return error_status(err, REASON_UNKNOWN,
                                    "the server responded with the status code %d but did not return more information",
                                    status);
        add_quoted(&quoted, text);
        return error_status(err, REASON_INTERNAL,
                            "an error on the server (%" STR_FMT ") has prevented the request from succeeding",
                            STR_ARG(buf_str(&quoted)));
}

int err_unhandled(struct error *err, struct str kind, struct str version, struct str as, struct str text) {
        _cleanup_buf_ struct buf quoted = BUF_INIT;

        add_quoted(&quoted, version);
        return err_bad_request(err,
                               "%" STR_FMT " in version %" STR_FMT " cannot be handled as a %" STR_FMT ": %" STR_FMT,
                               STR_ARG(kind), STR_ARG(buf_str(&quoted)), STR_ARG(as), STR_ARG(text));
}

/* Kinds that upstream's decoder knows in versions that are not served. */
static const struct {
        const char *group, *versions, *kinds;
} unserved[] = {
        { "authentication.k8s.io", "v1beta1", "SelfSubjectReview TokenReview" },
        { "authentication.k8s.io", "v1alpha1", "SelfSubjectReview" },
        { "authorization.k8s.io", "v1beta1",
          "SelfSubjectRulesReview SelfSubjectAccessReview SubjectAccessReview LocalSubjectAccessReview" },
        { "apps", "v1beta1", "Deployment StatefulSet ControllerRevision DeploymentRollback Scale" },
        { "apps", "v1beta2", "Deployment StatefulSet DaemonSet ReplicaSet ControllerRevision Scale" },
        { "extensions", "v1beta1", "Deployment DaemonSet Ingress ReplicaSet NetworkPolicy DeploymentRollback Scale" },
        { "autoscaling", "v2beta1 v2beta2", "HorizontalPodAutoscaler" },
        { "batch", "v1beta1", "CronJob" },
        { "certificates.k8s.io", "v1beta1", "CertificateSigningRequest ClusterTrustBundle" },
        { "certificates.k8s.io", "v1alpha1", "ClusterTrustBundle" },
        { "coordination.k8s.io", "v1beta1", "Lease LeaseCandidate" },
        { "coordination.k8s.io", "v1alpha2", "LeaseCandidate" },
        { "discovery.k8s.io", "v1beta1", "EndpointSlice" },
        { "events.k8s.io", "v1beta1", "Event" },
        { "flowcontrol.apiserver.k8s.io", "v1beta1 v1beta2 v1beta3", "FlowSchema PriorityLevelConfiguration" },
        { "networking.k8s.io", "v1beta1", "Ingress IngressClass IPAddress ServiceCIDR" },
        { "networking.k8s.io", "v1alpha1", "IPAddress ServiceCIDR" },
        { "node.k8s.io", "v1alpha1 v1beta1", "RuntimeClass" },
        { "policy", "v1beta1", "PodDisruptionBudget Eviction" },
        { "rbac.authorization.k8s.io", "v1alpha1 v1beta1", "Role RoleBinding ClusterRole ClusterRoleBinding" },
        { "scheduling.k8s.io", "v1alpha1 v1beta1", "PriorityClass" },
        { "storage.k8s.io", "v1alpha1", "VolumeAttachment CSIStorageCapacity VolumeAttributesClass" },
        { "storage.k8s.io", "v1beta1",
          "StorageClass VolumeAttachment CSIDriver CSINode CSIStorageCapacity VolumeAttributesClass" },
        { "admissionregistration.k8s.io", "v1alpha1",
          "ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding MutatingAdmissionPolicy "
          "MutatingAdmissionPolicyBinding" },
        { "admissionregistration.k8s.io", "v1beta1",
          "ValidatingWebhookConfiguration MutatingWebhookConfiguration ValidatingAdmissionPolicy "
          "ValidatingAdmissionPolicyBinding" },
        { "imagepolicy.k8s.io", "v1alpha1", "ImageReview" },
        { "resource.k8s.io", "v1alpha3",
          "DeviceClass ResourceClaim ResourceClaimTemplate ResourceSlice DeviceTaintRule" },
        { "resource.k8s.io", "v1beta1 v1beta2", "DeviceClass ResourceClaim ResourceClaimTemplate ResourceSlice" },
        { "apiextensions.k8s.io", "v1beta1", "CustomResourceDefinition" },
        { "apiregistration.k8s.io", "v1beta1", "APIService" },
        { "internal.apiserver.k8s.io", "v1alpha1", "StorageVersion" },
        { "storagemigration.k8s.io", "v1alpha1", "StorageVersionMigration" },
};

bool api_kind_is_known(struct str group, struct str version, struct str kind) {
        static const char everywhere[] = "WatchEvent ListOptions GetOptions DeleteOptions CreateOptions UpdateOptions "
                                         "PatchOptions";
        bool of_core = group.n == 0 && str_eqc(version, "v1"), of_meta = str_eqc(group, "meta.k8s.io");

        if ((str_eqc(kind, "List") && !of_core) ||
            (str_is_part(kind, ' ', STR(everywhere)) && (of_meta || !api_find_group_version(group, version))))
                return false;
        if (api_find_type(group, version, kind))
                return true;
        for (size_t i = 0; i < ARRAY_SIZE(unserved); i++)
                if (str_eqc(group, unserved[i].group) && str_is_part(version, ' ', str_of(unserved[i].versions)) &&
                    str_is_part(kind, ' ', str_of(unserved[i].kinds)))
                        return true;
        return false;
}

int err_other_kind(struct error *err, const struct sent *want, struct str kind, struct str api_version) {
        struct str group, version, internal = str_empty(want->group) ? STR("core") : want->group;
        _cleanup_buf_ struct buf text = BUF_INIT;
        ssize_t dot = str_find(internal, '.');
        int e = api_parse_group_version(api_version, &group, &version, err);

        if (e < 0)
                return e;
        if (!api_kind_is_known(group, version, kind)) {
                const char *scheme = str_eqc(want->group, "apiextensions.k8s.io")
                                                     ? "k8s.io/apiextensions-apiserver/pkg/apiserver/apiserver.go:55"
                                     : str_eqc(want->group, "apiregistration.k8s.io")
                                                     ? "k8s.io/kube-aggregator/pkg/apiserver/scheme/scheme.go:28"
                                                     : "pkg/api/legacyscheme/scheme.go:30";
                buf_addc(&text, "no kind ");
                add_quoted(&text, kind);
                buf_addc(&text, " is registered for version ");
                add_quoted(&text, api_version);
                buf_printf(&text, " in scheme \"%s\"", scheme);
                return err_unhandled(err, kind, version, want->kind, buf_str(&text));
        }
        if (str_eq(kind, want->kind))
                return 0;
        internal = dot < 0 ? internal : str_sub(internal, 0, (size_t) dot); /* the name of upstream's package */
        buf_printf(&text, "converting (%" STR_FMT ".%" STR_FMT ") to (%" STR_FMT ".%" STR_FMT "): unknown conversion",
                   STR_ARG(version), STR_ARG(kind), STR_ARG(internal), STR_ARG(want->kind));
        return err_unhandled(err, kind, version, want->kind, buf_str(&text));
}

int err_bad_name(struct error *err, struct str name) {
        if (str_eqc(name, ".") || str_eqc(name, ".."))
                return err_bad_request(err, "Name parameter invalid: \"%" STR_FMT "\": may not be '%" STR_FMT "'",
                                       STR_ARG(name), STR_ARG(name));
        if (str_find(name, '%') >= 0)
                return err_bad_request(err, "Name parameter invalid: \"%" STR_FMT "\": may not contain '%%'",
                                       STR_ARG(name));
        return 0;
}

int err_no_method(struct error *err) {
        return error_status(err, REASON_METHOD_NOT_ALLOWED,
                            "the server does not allow this method on the requested resource");
}

int err_method(struct error *err, const struct rest *r, const char *verb) {
        error_status(err, REASON_METHOD_NOT_ALLOWED, "%s is not supported on resources of kind \"%" STR_FMT "\"", verb,
                     STR_ARG(r->qualified));
        error_details(err, str_n(NULL, 0), r->group, kind_of_details(r));
        return -EOPNOTSUPP;
}

int err_internal_text(struct error *err, struct str message) {
        error_status(err, REASON_INTERNAL, "%" STR_FMT, STR_ARG(message));
        if (err)
                err->text = true;
        return -EIO;
}

static struct json status_head(struct arena *a, const char *status) {
        struct json s = json_new_object();

        json_set_cstr(a, &s, "kind", "Status");
        json_set_cstr(a, &s, "apiVersion", "v1");
        json_setc(a, &s, "metadata", json_new_object());
        json_set_cstr(a, &s, "status", status);
        return s;
}

static void set_text(struct arena *a, struct json *o, const char *key, const char *text) {
        if (text && *text)
                json_setc(a, o, key, json_of_copy(a, str_of(text)));
}

struct json status_of_error(struct arena *a, const struct error *e) {
        struct json s = status_head(a, e->status_text && *e->status_text ? e->status_text : "Failure"),
                    details = json_new_object(), causes = json_new_array();
        static const struct str internal = STR_INIT("Internal error occurred: ");
        struct str text = str_of(error_text(e));
        int code = e->code ? e->code : status_reason_code(e->reason);

        set_text(a, json_get_mut(&s, STR("metadata")), "continue", e->continue_token);
        set_text(a, &s, "message", error_text(e));
        set_text(a, &s, "reason", e->reason_text ? e->reason_text : status_reason_text(e->reason));

        set_text(a, &details, "name", e->name);
        set_text(a, &details, "group", e->group);
        set_text(a, &details, "kind", e->kind);
        set_text(a, &details, "uid", e->uid);
        for (size_t i = 0; i < e->n_causes; i++) {
                struct json cause = json_new_object();

                set_text(a, &cause, "reason", e->causes[i].reason);
                set_text(a, &cause, "message", e->causes[i].message);
                set_text(a, &cause, "field", e->causes[i].field);
                json_push(a, &causes, cause);
        }
        if (e->n_causes == 0 && e->reason == REASON_INTERNAL && str_has_prefix(text, internal)) {
                struct json cause = json_new_object();

                set_text(a, &cause, "message", error_text(e) + internal.n);
                json_push(a, &causes, cause);
        }
        if (json_len(&causes) > 0)
                json_setc(a, &details, "causes", causes);
        if (e->retry_after_seconds > 0)
                json_set_int(a, &details, "retryAfterSeconds", e->retry_after_seconds);
        if (json_len(&details) > 0 || e->kind ||
            (!e->reason_text && (e->reason == REASON_NOT_FOUND || e->reason == REASON_FORBIDDEN ||
                                 e->reason == REASON_INVALID || e->reason == REASON_METHOD_NOT_ALLOWED)))
                json_setc(a, &s, "details", details);
        json_set_int(a, &s, "code", code);
        return s;
}

struct json status_success(struct arena *a, struct str name, struct str group, struct str kind, struct str uid) {
        struct json s = status_head(a, "Success"), details = json_new_object();

        json_set_str(a, &details, "name", name);
        if (!str_empty(group))
                json_set_str(a, &details, "group", group);
        json_set_str(a, &details, "kind", kind);
        if (!str_empty(uid))
                json_set_str(a, &details, "uid", uid);
        json_setc(a, &s, "details", details);
        return s;
}

struct str now_text(struct arena *a) {
        char text[36];

        return arena_str(a, time_format(text, now_wall_ns()));
}

/* ---- of the store ---- */

/* That a name is taken is told otherwise where one could have been generated; what goes already, too. */
static void exists_error(struct op *op) {
        struct error *err = &op->c->error;

        err_exists(err, op->rest, op->name);
        if (!str_empty(json_str(json_at_path(&op->tree, "metadata", "generateName")))) {
                char *text = xprintf("%s, the server was not able to generate a unique name for the object",
                                     err->message);

                free(err->message);
                err->message = text;
                err->retry_after_seconds = 1;
        }
        op_refresh(op);
        struct object *there = rest_get(op->snap, op->rest->stored, op->namespace, op->name);
        if (there && object_deleting(there))
                error_prefix(err, "object is being deleted");
}

/* A field of a message in protobuf: its tag, its length, and itself. */
static size_t framed(size_t n) {
        size_t varint = 1;

        for (size_t rest = n; rest > 127; rest >>= 7)
                varint++;
        return 1 + varint + n;
}

/* Upstream's client of etcd sends no message of more than this, which has the object in a transaction. */
#define MAX_SENT (2U << 20)

static void too_large(struct op *op) {
        const struct store_op *o = &op->txn.ops[0];
        bool update = o->kind == STORE_UPDATE;
        _cleanup_buf_ struct buf key = BUF_INIT;

        add_storage_key(&key, op);
        size_t named = framed(key.n);
        size_t compared = 2 + named + framed(update ? o->expect : 0) - (update ? o->expect : 0);
        size_t n = framed(compared) + framed(framed(named + framed(op->stored_bytes))) +
                   (update ? framed(framed(named)) : 0);
        error_status(&op->c->error, REASON_UNKNOWN,
                     n > MAX_SENT ? "rpc error: code = ResourceExhausted desc = trying to send message larger than max "
                                    "(%zu vs. %u)"
                                  : "etcdserver: request is too large",
                     n, MAX_SENT);
}

/* What went wrong in the store, as an error of the call. */
void writes_store_error(struct op *op) {
        struct error *err = &op->c->error;
        _cleanup_error_ struct error e = ERROR_INIT;

        switch (op->txn.result) {
        case -EEXIST:
                exists_error(op);
                break;
        case -ENOENT:
                err_not_found(err, op->rest, op->name);
                break;
        case -EAGAIN:
                err_conflict(err, op->rest, op->name, OBJECT_MODIFIED);
                break;
        case -E2BIG:
                too_large(op);
                break;
        case -ENOKEY:
                encryption_check(op->s->options.encryption, op->key, &e);
                error_status(err, REASON_INTERNAL, "Internal error occurred: %s", e.err ? error_text(&e) : "try again");
                break;
        case -ECANCELED:
                error_status(err, REASON_UNAVAILABLE, "the server is shutting down");
                break;
        case -ENOSPC: /* as etcd's clients know it */
                error_status(err, REASON_UNKNOWN, "etcdserver: mvcc: database space exceeded");
                break;
        default:
                error_status(err, REASON_INTERNAL, "Internal error occurred: the store could not write: %s",
                             strerror(-op->txn.result));
        }
}
