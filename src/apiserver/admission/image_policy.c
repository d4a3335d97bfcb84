/* ImagePolicyWebhook: another server says whether the images of a pod may run.
 * https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#imagepolicywebhook */
#include <errno.h>

#include "apiserver/admission/admission.h"
#include "apiserver/auth/remote.h"
#include "apiserver/config_file.h"
#include "json/build.h"
#include "schema/types.h"

#define MARK ".image-policy.k8s.io/" /* annotations with it are shown to the server */
#define AUDIT "imagepolicywebhook.image-policy.k8s.io/"
#define UNREAD_AS "error unmarshaling JSON: while decoding JSON"
#define UNREAD UNREAD_AS ": "

struct image_policy {
        struct remote *remote;
        bool default_allow; /* when there is no answer */
};

static int check_answer(struct arena *a, const struct json *answer, struct error *err) {
        struct json shape = json_build(a, "{ '': 'ImageReview', status: { '': 'ImageReviewStatus', allowed: true,"
                                          "  reason: '', auditAnnotations: null } }");

        return config_check_types(a, answer, &shape, err);
}

static int64_t keep_ms(const struct remote_options *o, struct str question, const struct json *answer) {
        return !answer ? 0 : json_bool(json_at_path(answer, "status", "allowed")) ? o->yes_ms : o->no_ms;
}

/* A number of units; -1 is none, 0 the default. */
static int read_duration(const struct json *config, const char *key, int64_t unit_ns, const char *range, int64_t max_s,
                         int64_t *ret_ms, struct error *err) {
        int64_t n = json_int(json_getc(config, key));
        char text[36];

        if (n)
                *ret_ms = n < 0 ? 0 : n * (unit_ns / NSEC_PER_MSEC);
        if (n >= -1 && n <= max_s * NSEC_PER_SEC / unit_ns)
                return 0;
        duration_format(text, n * unit_ns);
        return error_set(err, -EINVAL, "valid value is between %s, got %s", range, text);
}

static int configure(struct apiserver *s, const struct json *config, bool is_json, struct image_policy *p,
                     struct error *err) {
        static const char seconds[] = "1s and 30m0s";
        struct remote_options o = {
                .s = s, .name = "image policy webhook", .keep_ms = keep_ms, .yes_ms = 5 * 60 * 1000, .no_ms = 30 * 1000
        };
        struct json shape = json_build(
                        s->arena, "{ '': 'AdmissionConfig', imagePolicy: { '': 'imagepolicy.imagePolicyWebhookConfig',"
                                  "  kubeConfigFile: '', allowTTL: 64, denyTTL: 64, retryBackoff: 64,"
                                  "  defaultAllow: true } }");
        int64_t backoff;

        if (!config)
                return error_set(err, -EINVAL, "no config specified");
        if (!json_is(config, JSON_OBJECT) && !json_is(config, JSON_NULL))
                return error_set(err, -EINVAL,
                                 UNREAD "json: cannot unmarshal %s into Go value of type "
                                        "imagepolicy.AdmissionConfig",
                                 json_type_in_go(config));
        if (config_check_types(s->arena, config, &shape, err) < 0)
                return is_json ? err->err : error_prefix(err, UNREAD_AS);
        config = json_getc(config, "imagePolicy");
        TRY(read_duration(config, "retryBackoff", NSEC_PER_MSEC, "1ns and 5m0s", 300, &backoff, err));
        TRY(read_duration(config, "allowTTL", NSEC_PER_SEC, seconds, 1800, &o.yes_ms, err));
        TRY(read_duration(config, "denyTTL", NSEC_PER_SEC, seconds, 1800, &o.no_ms, err));
        o.kubeconfig = arena_cstr(s->arena, json_str(json_getc(config, "kubeConfigFile")));
        p->default_allow = json_bool(json_getc(config, "defaultAllow"));
        return remote_new(&o, &p->remote, err);
}

int image_policy_new(struct apiserver *s, struct image_policy **ret, struct error *err) {
        struct image_policy *p = arena_new_of(s->arena, struct image_policy);
        const struct json *config;

        TRY(admission_config(s, "ImagePolicyWebhook", NULL, &config, err));
        bool is_json = str_has_prefix(admission_config_text(s, "ImagePolicyWebhook"), STR("{"));
        if (configure(s, config, is_json, p, err) < 0)
                return admission_unfit(err, "ImagePolicyWebhook");
        *ret = p;
        return 0;
}

void image_policy_free(struct image_policy *p) {
        if (p)
                remote_free(p->remote);
}

static struct json review_of(struct admission *ad, const char *const *lists) {
        struct arena *a = ad->a;
        struct json images = json_new_array(), shown = json_new_object();

        for (; *lists; lists++)
                json_each_item(c, json_at_path(ad->obj, "spec", *lists))
                        json_push(a, &images, json_build(a, "{image:%s}", json_str(json_getc(c, "image"))));
        json_each_member(m, json_at_path(ad->obj, "metadata", "annotations"))
                if (str_search(json_key(m), STR(MARK)) >= 0)
                        json_set(a, &shown, json_key(m), m->value);
        return json_build(a,
                          "{kind:'ImageReview',apiVersion:'imagepolicy.k8s.io/v1alpha1',metadata:{creationTimestamp:"
                          "null},spec:{containers:%j,annotations:%j,namespace:%s},status:{allowed:false}}",
                          &images, json_len(&shown) ? &shown : NULL, ad->op->namespace);
}

static int without_answer(struct admission *ad, const struct image_policy *p, struct str text, struct error *err) {
        if (!p->default_allow)
                return admission_forbid(ad, err, "%" STR_FMT, STR_ARG(text));
        op_annotate(ad->op, STR(AUDIT "failed-open"), STR("true"));
        return 0;
}

int admission_image_policy(struct admission *ad, struct error *err) {
        static const char *const all[] = { "containers", "initContainers", NULL }, *const later[] = {
                "ephemeralContainers", NULL
        };
        const struct image_policy *p = ad->s->plugins->image_policy;
        bool ephemeral = admission_is_sub(ad, &res_pods, "ephemeralcontainers");
        _cleanup_error_ struct error odd = ERROR_INIT;
        const struct json *answer, *status;

        if (!p || (!ephemeral && !admission_is(ad, &res_pods)))
                return 0;
        struct json body = review_of(ad, ephemeral ? later : all);
        int r = remote_ask(p->remote, ad->a, &body, &answer);
        if (r == -EINPROGRESS)
                return error_set(err, r, "the image policy webhook is being asked");
        if (r < 0)
                return without_answer(ad, p, json_str(answer), err);
        if (check_answer(ad->a, answer, &odd) < 0)
                return without_answer(ad, p, str_of(error_text(&odd)), err);
        status = json_getc(answer, "status");
        json_each_member(m, json_getc(status, "auditAnnotations"))
                op_annotate_named(ad->op, arena_printf(ad->a, AUDIT "%" STR_FMT, STR_ARG(json_key(m))),
                                  json_str(&m->value));
        if (json_bool(json_getc(status, "allowed")))
                return 0;
        struct str reason = json_str(json_getc(status, "reason"));
        if (str_empty(reason))
                return admission_forbid(ad, err, "one or more images rejected by webhook backend");
        return admission_forbid(ad, err, "image policy webhook backend denied one or more images: %" STR_FMT,
                                STR_ARG(reason));
}
