/* Any bytes as a message of any type (the first byte says which; an envelope, its kind): what decodes must encode, and
 * decode again to the same. And any text as a document of that type: what decodes must be what decodes again, default,
 * be applied, and go through protobuf. */
#include <stdlib.h>

#include "schema/apply.h"
#include "schema/decode.h"
#include "schema/defaults.h"
#include "schema/protobuf.h"
#include "schema/strategic.h"
#include "schema/types.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok) {
        if (!ok)
                abort();
}

static const struct schema_type *pick(uint8_t n, struct str kind) {
        static const struct schema_type *const types[] = {
                &type_Pod,
                &type_Deployment,
                &type_Service,
                &type_Node,
                &type_Event,
                &type_Secret,
                &type_CustomResourceDefinition,
                &type_HorizontalPodAutoscaler,
                &type_Lease,
                &type_EndpointSlice,
                &type_List,
                &type_WatchEvent,
                &type_PodList,
                &type_NetworkPolicy,
                &type_AdmissionReview,
                &type_CertificateSigningRequest,
                &type_DeleteOptions,
                &type_APIGroupDiscoveryList,
                &type_ControllerRevision,
                &type_PersistentVolume,
        };
        for (size_t i = 0; i < ARRAY_SIZE(types); i++)
                if (str_eqc(kind, types[i]->name))
                        return types[i];
        return types[n % ARRAY_SIZE(types)];
}

static void check_same(const struct json *x, const struct json *y) {
        struct buf a = BUF_INIT, b = BUF_INIT;

        json_write(&a, x);
        json_write(&b, y);
        check(str_eq(buf_str(&a), buf_str(&b)));
        buf_free(&a);
        buf_free(&b);
}

/* From a normalised document to protobuf and back. */
static void round_trip(struct arena *a, const struct schema_type *t, const struct json *doc) {
        _cleanup_buf_ struct buf bytes = BUF_INIT, again = BUF_INIT;
        struct json back;

        check(protobuf_encode(&bytes, t, doc, NULL) == 0);
        if (protobuf_decode(a, t, buf_str(&bytes), &back, NULL) < 0)
                return; /* deeper than protobuf goes */
        check(protobuf_encode(&again, t, &back, NULL) == 0);
        check(str_eq(buf_str(&bytes), buf_str(&again)));
}

static void try_text(struct arena *a, const struct schema_type *t, struct str text) {
        struct apply_opts o = { .manager = STR("kubectl"), .api_version = STR("v1"), .force = true };
        struct json *in, doc, same, strict = json_new_array(), applied, patched;

        if (json_parse(a, text, NULL, &in, NULL) < 0 || schema_decode(a, t, in, &strict, &doc, NULL) < 0)
                return;
        check(schema_decode(a, t, &doc, NULL, &same, NULL) == 0);
        check_same(&doc, &same);
        round_trip(a, t, &doc);
        if (apply_merge(a, t, NULL, in, &o, &applied, NULL) == 0)
                (void) apply_merge(a, t, &applied, in, &o, &applied, NULL);
        (void) strategic_merge_patch(a, t, &doc, in, &patched, NULL);
        same = json_copy(a, &doc);
        schema_default(a, t, &same);
        schema_reorder(a, t, &same);
        apply_track_update(a, t, &doc, &same, &o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct str bytes = str_n((const char *) data, size);
        const struct schema_type *t;
        struct protobuf_unknown u;
        struct json doc;

        if (size < 1)
                return 0;
        if (protobuf_open(bytes, &u, NULL) == 0) {
                t = pick(data[size - 1], u.kind);
                bytes = u.raw;
        } else {
                t = pick(data[0], STR(""));
                bytes = str_sub(bytes, 1, size);
        }
        if (protobuf_decode(a, t, bytes, &doc, NULL) == 0)
                round_trip(a, t, &doc);
        try_text(a, t, bytes);
        return 0;
}
