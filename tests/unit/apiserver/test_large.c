/* Bodies of a great many items. What looks at all pairs of them, or shows the whole list at each, would take minutes,
 * and gigabytes; here they are answered like others. */
#include "help.h"

#define CRD(schema_before, schema_behind)                                                                        \
        "{\"metadata\":{\"name\":\"ws.w.io\"},\"spec\":{\"group\":\"w.io\",\"scope\":\"Namespaced\",\"names\":{" \
        "\"plural\":\"ws\",\"kind\":\"W\"},\"versions\":[{\"name\":\"v1\",\"served\":true,\"storage\":true,"     \
        "\"schema\":{\"openAPIV3Schema\":{\"type\":\"object\"," schema_before,                                   \
                        schema_behind "}}}]}}"
#define POLICY(before, behind)                                                                                      \
        "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"matchConstraints\":{\"resourceRules\":[{\"apiGroups\":[\"*\"]," \
        "\"apiVersions\":[\"*\"],\"resources\":[\"*\"],\"operations\":[\"*\"]}]}," before,                          \
                        behind "}}"

/* before, then n times item with its number for each '#', between, n times the second kind of items, behind. */
static const struct {
        const struct api_resource *resource;
        const char *namespace, *before, *behind, *item, *between, *second;
        int n, code;
} bodies[] = {
        { &res_configmaps, "default", "{\"metadata\":{\"name\":\"x\",\"ownerReferences\":[", "]}}",
          "{\"apiVersion\":\"v1\",\"kind\":\"K\",\"name\":\"n#\",\"uid\":\"u\",\"controller\":true}", NULL, NULL, 30000,
          422 },
        { &res_configmaps, "default",
          "{\"metadata\":{\"name\":\"x\",\"managedFields\":[{\"manager\":\"m\",\"operation\":\"Update\",\"apiVersion\":"
          "\"v1\",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":{\"f:data\":{",
          "}}}]}}", "\"f:a#\":{}", NULL, NULL, 200000, 201 },
        { &res_configmaps, "default", "{\"metadata\":{\"name\":\"x\",\"managedFields\":[", "]}}",
          "{\"manager\":\"m#\",\"operation\":\"Apply\",\"apiVersion\":\"v1\",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":{"
          "\"f:"
          "data\":{\"f:a#\":{}}}}",
          NULL, NULL, 100000, 201 },
        { &res_pods, "default", "{\"metadata\":{\"name\":\"x\"},\"spec\":{\"containers\":[", "]}}", "{}", NULL, NULL,
          1000000, 422 },
        { &res_validatingadmissionpolicies, NULL,
          POLICY("\"validations\":[{\"expression\":\"true\"}],\"variables\":[", "]"),
          "{\"name\":\"v#\",\"expression\":\"object\"}", NULL, NULL, 60000, 201 },
        { &res_validatingadmissionpolicies, NULL, POLICY("\"auditAnnotations\":[", "]"),
          "{\"key\":\"a#\",\"valueExpression\":\"'a'\"}", NULL, NULL, 60000, 422 },
        { &res_customresourcedefinitions, NULL,
          CRD("\"properties\":{\"a\":{\"type\":\"array\",\"items\":{\"type\":\"string\",\"enum\":[", "]}}"), "\"e#\"",
          "]},\"default\":[", "\"e#\"", 100000, 201 },
        { &res_customresourcedefinitions, NULL,
          CRD("\"properties\":{\"a\":{\"type\":\"array\",\"uniqueItems\":true,\"items\":{\"type\":\"integer\"},"
              "\"default\":[",
              "]}}"),
          "#", NULL, NULL, 200000, 422 },
        { &res_customresourcedefinitions, NULL,
          CRD("\"properties\":{\"a\":{\"type\":\"array\",\"x-kubernetes-list-type\":\"map\",\"items\":{\"type\":"
              "\"object\",\"properties\":{\"k\":{\"type\":\"string\"}},\"required\":[\"k\"]},"
              "\"x-kubernetes-list-map-keys\":[",
              "]}}"),
          "\"k#\"", NULL, NULL, 200000, 422 },
        { &res_customresourcedefinitions, NULL, CRD("\"properties\":{", "]"),
          "\"p#\":{\"type\":\"string\",\"x-kubernetes-validations\":[{\"rule\":\"self=='a'\"}]}",
          "},\"x-kubernetes-validations\":[", "{\"rule\":\"self.p#=='b'\"}", 20000, 201 },
};

static void add_items(struct buf *b, const char *item, int n) {
        for (int i = 0; i < n; i++) {
                if (i > 0)
                        buf_putc(b, ',');
                for (const char *c = item; *c; c++)
                        if (*c == '#')
                                buf_printf(b, "%d", i);
                        else
                                buf_putc(b, *c);
        }
}

static void long_lists_are_answered_like_others(void **state) {
        struct fixture *f = *state;

        make_account(f, "default");
        for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
                _cleanup_buf_ struct buf b = BUF_INIT;
                struct answer r;

                buf_printf(&b, "%s", bodies[i].before);
                add_items(&b, bodies[i].item, bodies[i].n);
                if (bodies[i].between) {
                        buf_printf(&b, "%s", bodies[i].between);
                        add_items(&b, bodies[i].second, bodies[i].n);
                }
                buf_printf(&b, "%s", bodies[i].behind);
                r = ASK(f, API_CREATE, bodies[i].resource, bodies[i].namespace, .options.dry_run = true,
                        .body = arena_cstr(f->a, buf_str(&b)));
                if (r.code != bodies[i].code)
                        fail_msg("%zu: %d %.2000s", i, r.code, r.message ? r.message : "");
                assert_true(!r.message || strlen(r.message) < (40 << 20));
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(long_lists_are_answered_like_others, fixture_setup, fixture_teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
