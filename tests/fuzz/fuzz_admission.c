/* The answers of admission webhooks, as mutating and validating ones: whatever they send is understood or refused with
 * a message, and a patch that is taken is one. */
#include <stdlib.h>

#include "apiserver/admission/review.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok) {
        if (!ok)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const char *const versions[] = { "admission.k8s.io/v1", "admission.k8s.io/v1beta1" };
        struct str text = str_n((const char *) data, size);

        for (int i = 0; i < 4; i++) {
                struct arena *a = arena_new(0);
                struct error err = ERROR_INIT, denied = ERROR_INIT;
                struct review_answer answer;
                struct json object = json_new_object(), result;
                int r = review_parse(a, text, versions[i & 1], STR("u"), i & 2, &answer, &err);

                check(r == 0 ? !err.err : err.err == r && err.message && *err.message);
                if (r == 0 && answer.patch) {
                        check(i & 2 && answer.allowed && json_len(answer.patch) > 0);
                        json_patch_apply(a, &object, answer.patch, &result, NULL);
                }
                if (r == 0 && !answer.allowed)
                        check(review_denied(&denied, STR("w"), answer.status) < 0 && denied.code >= 400);
                error_clear(&err);
                error_clear(&denied);
                arena_free(a);
        }
        return 0;
}
