/* AdmissionReview, what the server and a webhook say to each other:
 * https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
 * Private to src/apiserver. */
#pragma once

#include "apiserver/admission/configs.h"

/* An object of this write (ad->obj, ad->old, or what a patch makes) in another version of its resource; a subresource's
 * own kind (Scale, Binding) has one version only. Shares with in. ADMISSION_WAITS: a webhook has to convert it, and the
 * plugin is asked once more when it has, or then is called instead (with a negative errno when it has failed). */
int review_convert(struct admission *ad, const struct rest *from, const struct rest *to, const struct json *in,
                   void (*then)(struct admission *ad, int r), struct json *ret, struct error *err);
/* At the beginning of a plugin, and when ad->obj has changed: nothing is converted yet. */
void review_forget(struct admission *ad);
/* The question, with object and old in the version of as; lives in a. */
struct str review_question(struct arena *a, const struct admission *ad, const struct rest *as, const char *api_version,
                           struct str uid, const struct json *object, const struct json *old);
/* The same as AdmissionRequest: what expressions know as `request`. Without the objects. */
struct json review_request(struct arena *a, const struct admission *ad, const struct rest *as, struct str uid);

struct review_answer {
        bool allowed;
        const struct json *patch;       /* a JSON Patch, not empty, or NULL */
        const struct json *status;      /* of a refusal, or NULL */
        const struct json *warnings;    /* strings */
        const struct json *annotations; /* of the audit log: a map of strings */
};
/* Reads what a webhook has sent; everything in ret lives in a. -EINVAL with what upstream says after "failed calling
 * webhook"; a patch that is no patch is -EIO: that is not forgiven by failurePolicy. Pure: fuzzed by fuzz_admission. */
int review_parse(struct arena *a, struct str text, const char *api_version, struct str uid, bool mutating,
                 struct review_answer *ret, struct error *err);
/* What a document says that it is, as Go's encoding/json finds it: the case of a key does not count, null is nothing.
 * -EINVAL. */
int review_kind(const struct json *doc, struct str *kind, struct str *version, struct error *err);
/* What a webhook has sent as a review of a kind: a JSON object, which may be empty. */
int review_read(struct arena *a, struct str text, const char *kind, const char *api_version, struct json **ret,
                struct error *err);
/* The refusal that status makes: `admission webhook "x" denied the request: …`. Returns a negative errno. */
int review_denied(struct error *err, struct str webhook, const struct json *status);
