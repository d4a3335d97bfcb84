/* RBAC: bootstrap policy, escalation, reasons; what nodes may. Messages are upstream's. */
#include "help.h"

#include "apiserver/auth/rbac.h"

static struct str authenticated[] = { STR_INIT("system:authenticated") };
static const struct api_user jane = { .name = STR_INIT("jane"), .groups = authenticated, .n_groups = 1 };

static void make(struct fixture *f, const struct api_resource *r, const char *ns, const char *body) {
        check_code(ASK(f, API_CREATE, r, ns, .body = body), 201);
}

static void bind_cluster(struct fixture *f, const char *name, const char *role, const char *user) {
        make(f, &res_clusterrolebindings, NULL,
             arena_printf(f->a,
                          "{\"metadata\":{\"name\":\"%s\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\","
                          "\"kind\":\"ClusterRole\",\"name\":\"%s\"},\"subjects\":[{\"kind\":\"User\",\"apiGroup\":"
                          "\"rbac.authorization.k8s.io\",\"name\":\"%s\"}]}",
                          name, role, user)
                             .p);
}

/* A role manager who may read pods. */
static void make_manager(struct fixture *f) {
        make(f, &res_clusterroles, NULL,
             "{\"metadata\":{\"name\":\"manager\"},\"rules\":[{\"apiGroups\":[\"rbac.authorization.k8s.io\"],"
             "\"resources\":[\"*\"],\"verbs\":[\"create\",\"update\",\"patch\",\"get\"]},{\"apiGroups\":[\"\"],"
             "\"resources\":[\"pods\"],\"verbs\":[\"get\",\"list\"]}]}");
        bind_cluster(f, "manager", "manager", "jane");
}

static void nobody_gives_what_they_do_not_have(void **state) {
        struct fixture *f = *state;
        static const char head[] = "clusterroles.rbac.authorization.k8s.io \"r\" is forbidden: user \"jane\" "
                                   "(groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not "
                                   "currently held:\n";
        static const struct {
                const char *rules, *missing;
        } table[] = {
                { "{\"apiGroups\":[\"\"],\"resources\":[\"pods\"],\"verbs\":[\"get\",\"list\"]}", NULL },
                { "{\"apiGroups\":[\"\"],\"resources\":[\"pods\"],\"resourceNames\":[\"x\"],\"verbs\":[\"get\"]}",
                  NULL },
                { "{\"apiGroups\":[\"\"],\"resources\":[\"pods\",\"secrets\"],\"verbs\":[\"get\",\"delete\"]}",
                  "{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"delete\"]}\n"
                  "{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\" \"delete\"]}" },
                { "{\"apiGroups\":[\"\"],\"resources\":[\"secrets\"],\"resourceNames\":[\"a\",\"b\"],\"verbs\":["
                  "\"get\"]}",
                  "{APIGroups:[\"\"], Resources:[\"secrets\"], ResourceNames:[\"a\"], Verbs:[\"get\"]}\n"
                  "{APIGroups:[\"\"], Resources:[\"secrets\"], ResourceNames:[\"b\"], Verbs:[\"get\"]}" },
                { "{\"nonResourceURLs\":[\"/metrics\"],\"verbs\":[\"get\"]}",
                  "{NonResourceURLs:[\"/metrics\"], Verbs:[\"get\"]}" },
                { "{\"nonResourceURLs\":[\"/apis/apps/*\"],\"verbs\":[\"get\"]}", NULL },
                { "{\"apiGroups\":[\"*\"],\"resources\":[\"*\"],\"verbs\":[\"*\"]}",
                  "{APIGroups:[\"*\"], Resources:[\"*\"], Verbs:[\"*\"]}" },
        };

        make_manager(f);
        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                const char *body =
                                arena_printf(f->a, "{\"metadata\":{\"name\":\"r\"},\"rules\":[%s]}", table[i].rules).p;
                struct answer r = ASK(f, API_CREATE, &res_clusterroles, .body = body, .user = &jane);

                if (table[i].missing)
                        check_error(r, 403, arena_printf(f->a, "%s%s", head, table[i].missing).p);
                else
                        check_code(r, 201);
                ASK(f, API_DELETE, &res_clusterroles, NULL, "r");
        }
}

static void a_role_does_not_grow_beyond_its_writer(void **state) {
        struct fixture *f = *state;

        make_manager(f);
        make(f, &res_roles, "default",
             "{\"metadata\":{\"name\":\"r\"},\"rules\":[{\"apiGroups\":[\"\"],\"resources\":[\"pods\"],\"verbs\":["
             "\"get\"]}]}");
        check_code(ASK(f, API_PATCH, &res_roles, "default", "r", .patch = API_PATCH_JSON, .user = &jane,
                       .body = "[{\"op\":\"add\",\"path\":\"/rules/0/verbs/-\",\"value\":\"list\"}]"),
                   200);
        check_code(ASK(f, API_PATCH, &res_roles, "default", "r", .patch = API_PATCH_JSON, .user = &jane,
                       .body = "[{\"op\":\"add\",\"path\":\"/rules/0/verbs/-\",\"value\":\"delete\"}]"),
                   403);
        check_error(ASK(f, API_CREATE, &res_clusterroles, .user = &jane,
                        .body = "{\"metadata\":{\"name\":\"g\"},\"aggregationRule\":{\"clusterRoleSelectors\":[{}]}}"),
                    403,
                    "clusterroles.rbac.authorization.k8s.io \"g\" is forbidden: must have cluster-admin privileges to "
                    "use the aggregationRule");
}

static const char binding[] =
                "{\"metadata\":{\"name\":\"b\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":"
                "\"ClusterRole\",\"name\":\"%s\"},\"subjects\":[{\"kind\":\"User\",\"apiGroup\":\"rbac.authorization."
                "k8s.io\",\"name\":\"jane\"}]}";

static void a_binding_gives_what_its_writer_has(void **state) {
        struct fixture *f = *state;
        const char *admin = arena_printf(f->a, binding, "cluster-admin").p;

        make_manager(f);
        check_error(ASK(f, API_CREATE, &res_clusterrolebindings, .body = admin, .user = &jane), 403,
                    "clusterrolebindings.rbac.authorization.k8s.io \"b\" is forbidden: user \"jane\" (groups=["
                    "\"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n"
                    "{APIGroups:[\"*\"], Resources:[\"*\"], Verbs:[\"*\"]}\n"
                    "{NonResourceURLs:[\"*\"], Verbs:[\"*\"]}");
        check_error(ASK(f, API_CREATE, &res_rolebindings, "default", .body = arena_printf(f->a, binding, "none").p,
                        .user = &jane),
                    404, "rolebindings.rbac.authorization.k8s.io \"none\" not found");
        check_error(ASK(f, API_CREATE, &res_rolebindings, "default", .body = arena_printf(f->a, binding, "").p,
                        .user = &jane),
                    400, "Name parameter required.");
        check_error(ASK(f, API_CREATE, &res_rolebindings, "default", .user = &jane,
                        .body = "{\"metadata\":{\"name\":\"b\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s."
                                "io\","
                                "\"kind\":\"Foo\",\"name\":\"x\"}}"),
                    500, "unsupported role reference kind: \"Foo\"");
        make(f, &res_clusterroles, NULL,
             "{\"metadata\":{\"name\":\"binder\"},\"rules\":[{\"apiGroups\":[\"rbac.authorization.k8s.io\"],"
             "\"resources\":[\"clusterroles\"],\"resourceNames\":[\"cluster-admin\"],\"verbs\":[\"bind\"]}]}");
        bind_cluster(f, "binder", "binder", "jane");
        check_code(ASK(f, API_CREATE, &res_rolebindings, "default", .body = admin, .user = &jane), 201);
}

static void who_may_change_may_not_make(void **state) {
        static const char config[] = "{\"apiVersion\":\"%s\",\"kind\":\"%s\",\"metadata\":{\"name\":\"x\"}}",
                          role[] = "{\"metadata\":{\"name\":\"%s\"},\"rules\":[{\"apiGroups\":[\"*\"],\"resources\":["
                                   "\"configmaps\",\"leases\"],\"verbs\":[\"patch\",\"update\"%s]}]}";
        struct fixture *f = *state;
        const char *lease = arena_printf(f->a, config, "coordination.k8s.io/v1", "Lease").p,
                   *configmap = arena_printf(f->a, config, "v1", "ConfigMap").p;

        make(f, &res_clusterroles, NULL, arena_printf(f->a, role, "changer", "").p);
        bind_cluster(f, "changer", "changer", "jane");
        for (int allowed = 0; allowed < 2; allowed++) {
                struct answer a = ASK(f, API_PATCH, &res_configmaps, "default", "x", .patch = API_PATCH_APPLY,
                                      .options.field_manager = STR("m"), .body = configmap, .user = &jane),
                              b = ASK(f, API_UPDATE, &res_leases, "default", "x", .body = lease, .user = &jane);

                if (allowed) {
                        check_code(a, 201);
                        check_code(b, 201);
                        break;
                }
                check_error(a, 403,
                            "configmaps \"x\" is forbidden: User \"jane\" cannot create resource \"configmaps\" in API "
                            "group \"\" in the namespace \"default\"");
                check_error(b, 403,
                            "leases.coordination.k8s.io \"x\" is forbidden: User \"jane\" cannot create resource "
                            "\"leases\" in API group \"coordination.k8s.io\" in the namespace \"default\"");
                make(f, &res_clusterroles, NULL, arena_printf(f->a, role, "maker", ",\"create\"").p);
                bind_cluster(f, "maker", "maker", "jane");
        }
}

static void escalate_lets_give_more(void **state) {
        struct fixture *f = *state;

        make_manager(f);
        make(f, &res_clusterroles, NULL,
             "{\"metadata\":{\"name\":\"escalator\"},\"rules\":[{\"apiGroups\":[\"rbac.authorization.k8s.io\"],"
             "\"resources\":[\"clusterroles\"],\"verbs\":[\"escalate\"]}]}");
        bind_cluster(f, "escalator", "escalator", "jane");
        check_code(ASK(f, API_CREATE, &res_clusterroles, .user = &jane,
                       .body = "{\"metadata\":{\"name\":\"root\"},\"rules\":[{\"apiGroups\":[\"*\"],\"resources\":["
                               "\"*\"],\"verbs\":[\"*\"]}]}"),
                   201);
}

static void reviews_say_which_binding_allows(void **state) {
        struct fixture *f = *state;
        static const char spec[] = "{\"spec\":{\"user\":\"jane\",\"resourceAttributes\":{\"verb\":\"%s\",\"resource\":"
                                   "\"pods\",\"namespace\":\"default\"}}}";
        struct answer r;

        make_manager(f);
        r = ASK(f, API_CREATE, &res_subjectaccessreviews, .body = arena_printf(f->a, spec, "list").p);
        assert_string_equal(at(f, r, ".status.reason"),
                            "RBAC: allowed by ClusterRoleBinding \"manager\" of ClusterRole \"manager\" to User "
                            "\"jane\"");
        /* A subresource may be asked for as a resource. */
        bind_cluster(f, "viewer", "view", "u");
        check(ASK(f, API_CREATE, &res_subjectaccessreviews,
                  .body = "{\"spec\":{\"user\":\"u\",\"resourceAttributes\":{\"verb\":\"get\","
                          "\"resource\":\"pods/log\",\"namespace\":\"default\"}}}"),
              201, ".status.allowed", "true");
        bind_cluster(f, "lost", "missing", "jane");
        r = ASK(f, API_CREATE, &res_subjectaccessreviews, .body = arena_printf(f->a, spec, "delete").p);
        assert_string_equal(at(f, r, ".status.reason"),
                            "RBAC: clusterrole.rbac.authorization.k8s.io \"missing\" not found");
        check_error(ASK(f, API_DELETE, &res_pods, "default", "p", .user = &jane), 403,
                    "pods \"p\" is forbidden: User \"jane\" cannot delete resource \"pods\" in API group \"\" in the "
                    "namespace \"default\": RBAC: clusterrole.rbac.authorization.k8s.io \"missing\" not found");
}

/* A binding that was part of another one begins with what that was made to be. */
static void what_was_split_off_is_bound_as_before(void **state) {
        struct fixture *f = *state;
        struct answer r;

        for (int left_alone = 0; left_alone < 2; left_alone++) {
                check_code(ASK(f, API_PATCH, &res_clusterrolebindings, NULL, "system:discovery",
                               .patch = API_PATCH_MERGE,
                               .body = left_alone ? "{\"metadata\":{\"annotations\":{\"rbac.authorization.kubernetes."
                                                    "io/"
                                                    "autoupdate\":\"false\"}}}"
                                                  : "{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"subjects\":[{\"kind\":"
                                                    "\"Group\",\"name\":\"g\",\"apiGroup\":"
                                                    "\"rbac.authorization.k8s.io\"}]}"),
                           200);
                check_code(ASK(f, API_DELETE, &res_clusterrolebindings, NULL, "system:public-info-viewer"), 200);
                assert_int_equal(apiserver_bootstrap(f->s, NULL), 0);
                r = ASK(f, API_GET, &res_clusterrolebindings, NULL, "system:public-info-viewer");
                assert_string_equal(at(f, r, ".metadata.labels.a"), "b");
                assert_string_equal(at(f, r, ".roleRef.name"), "system:public-info-viewer");
                assert_string_equal(at(f, r, ".subjects[0].name"), "g");
                assert_string_equal(at(f, r, ".subjects[1].name"), "system:authenticated");
                assert_string_equal(at(f, r, ".subjects[2].name"), left_alone ? "(absent)" : "system:unauthenticated");
        }
}

/* A start completes what is missing, keeps what was added, and leaves alone what says so. */
static void policy_is_completed_at_start(void **state) {
        struct fixture *f = *state;
        struct error e = ERROR_INIT;
        struct answer r;
        const char *uid;

        ASK(f, API_PATCH, &res_clusterroles, NULL, "system:discovery", .patch = API_PATCH_MERGE,
            .body = "{\"rules\":[{\"verbs\":[\"get\"],\"nonResourceURLs\":[\"/mine\"]}]}");
        ASK(f, API_PATCH, &res_clusterroles, NULL, "system:basic-user", .patch = API_PATCH_MERGE,
            .body = "{\"metadata\":{\"annotations\":{\"rbac.authorization.kubernetes.io/autoupdate\":\"false\"}},"
                    "\"rules\":[]}");
        ASK(f, API_PATCH, &res_clusterroles, NULL, "system:node-problem-detector", .patch = API_PATCH_JSON,
            .body = "[{\"op\":\"remove\",\"path\":\"/rules/2\"}]");
        ASK(f, API_PATCH, &res_clusterrolebindings, NULL, "system:basic-user", .patch = API_PATCH_MERGE,
            .body = "{\"subjects\":[]}");
        ASK(f, API_DELETE, &res_clusterrolebindings, NULL, "system:volume-scheduler");
        bind_cluster(f, "system:volume-scheduler", "view", "jane");
        uid = at(f, ASK(f, API_GET, &res_clusterrolebindings, NULL, "system:volume-scheduler"), ".metadata.uid");
        assert_int_equal(apiserver_bootstrap(f->s, &e), 0);
        r = ASK(f, API_GET, &res_clusterrolebindings, NULL, "system:volume-scheduler");
        assert_string_equal(at(f, r, ".roleRef.name"), "system:volume-scheduler");
        assert_string_equal(at(f, r, ".subjects[*].name"), "system:kube-scheduler");
        assert_string_not_equal(at(f, r, ".metadata.uid"), uid);
        r = ASK(f, API_GET, &res_clusterroles, NULL, "system:discovery");
        assert_string_equal(at(f, r, ".rules[0].nonResourceURLs[0]"), "/mine");
        assert_string_equal(at(f, r, ".rules[1].nonResourceURLs[0]"), "/api");
        r = ASK(f, API_GET, &res_clusterroles, NULL, "system:node-problem-detector"); /* right by right */
        assert_string_equal(at(f, r, ".rules[2].verbs"), "[\"create\"]");
        assert_string_equal(at(f, r, ".rules[3].verbs"), "[\"patch\"]");
        assert_string_equal(at(f, ASK(f, API_GET, &res_clusterroles, NULL, "system:basic-user"), ".rules[0]"),
                            "(absent)");
        assert_string_equal(at(f, ASK(f, API_GET, &res_clusterrolebindings, NULL, "system:basic-user"),
                               ".subjects[0].name"),
                            "system:authenticated");
        assert_string_equal(at(f, ASK(f, API_GET, &res_clusterroles, NULL, "system:controller:job-controller"),
                               ".rules[0].verbs"),
                            "[\"get\",\"list\",\"patch\",\"update\",\"watch\"]");
        r = ASK(f, API_GET, &res_clusterroles, NULL, "system:kube-scheduler");
        assert_string_equal(at(f, r, ".rules[2].verbs"), "[\"get\",\"list\",\"update\",\"watch\"]");
        assert_string_equal(at(f, r, ".rules[3].resources"), "[\"leasecandidates\"]");
        r = ASK(f, API_GET, &res_clusterroles, NULL, "system:node-proxier");
        assert_string_equal(at(f, r, ".rules[3].resources"), "[\"servicecidrs\"]");
        r = ASK(f, API_GET, &res_clusterroles, NULL, "system:node");
        assert_string_equal(at(f, r, ".rules[6].apiGroups"), "[\"\"]");
        assert_string_equal(at(f, r, ".metadata.managedFields[0].manager"), "kube-apiserver");
        r = ASK(f, API_GET, &res_clusterroles, NULL, "admin");
        assert_string_equal(at(f, r, ".metadata.managedFields[0].fieldsV1.f:rules"), "(absent)");
        assert_string_equal(at(f,
                               ASK(f, API_GET, &res_rolebindings, "kube-public", "system:controller:bootstrap-signer"),
                               ".subjects[0].name"),
                            "bootstrap-signer");
}

/* ---- nodes ---- */

static struct str node_groups[] = { STR_INIT("system:nodes"), STR_INIT("system:authenticated") };
static const struct api_user n1 = { .name = STR_INIT("system:node:n1"), .groups = node_groups, .n_groups = 2 };

static void a_node_sees_what_belongs_to_it(void **state) {
        struct fixture *f = *state;
        struct answer r;

        make_account(f, "default");
        make(f, &res_pods, "default",
             "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"nodeName\":\"n1\",\"containers\":[{\"name\":\"c\",\"image\":"
             "\"x\"}],\"volumes\":[{\"name\":\"v\",\"persistentVolumeClaim\":{\"claimName\":\"claim\"}},{\"name\":"
             "\"e\","
             "\"ephemeral\":{\"volumeClaimTemplate\":{\"spec\":{\"accessModes\":[\"ReadWriteOnce\"],\"resources\":{"
             "\"requests\":{\"storage\":\"1Gi\"}}}}}}]}}");
        make(f, &res_persistentvolumes, NULL,
             "{\"metadata\":{\"name\":\"pv\"},\"spec\":{\"capacity\":{\"storage\":\"1Gi\"},\"accessModes\":["
             "\"ReadWriteOnce\"],\"claimRef\":{\"namespace\":\"default\",\"name\":\"claim\"},\"csi\":{\"driver\":\"d\","
             "\"volumeHandle\":\"h\",\"nodeStageSecretRef\":{\"name\":\"stage\",\"namespace\":\"vault\"},"
             "\"controllerPublishSecretRef\":{\"name\":\"hidden\",\"namespace\":\"vault\"}}}}");
        check_code(ASK(f, API_GET, &res_persistentvolumes, NULL, "pv", .user = &n1), 200);
        check_code(ASK(f, API_GET, &res_secrets, "vault", "stage", .user = &n1), 404);
        check_code(ASK(f, API_GET, &res_persistentvolumeclaims, "default", "p-e", .user = &n1), 404);
        check_error(ASK(f, API_GET, &res_secrets, "vault", "hidden", .user = &n1), 403,
                    "secrets \"hidden\" is forbidden: User \"system:node:n1\" cannot get resource \"secrets\" in API "
                    "group \"\" in the namespace \"vault\": no relationship found between node 'n1' and this object");
        check_error(ASK(f, API_GET, &res_nodes, NULL, "n2", .user = &n1), 403,
                    "nodes \"n2\" is forbidden: User \"system:node:n1\" cannot get resource \"nodes\" in API group "
                    "\"\" "
                    "at the cluster scope: node 'n1' cannot read 'n2', only its own Node object");
        check_error(ASK(f, API_LIST, &res_pods, .user = &n1), 403,
                    "pods is forbidden: User \"system:node:n1\" cannot list resource \"pods\" in API group \"\" at the "
                    "cluster scope: can only list/watch pods with spec.nodeName field selector");
        r = ASK(f, API_LIST, &res_pods, .user = &n1, .options = { .field_selector = STR("spec.nodeName=n1") });
        check_code(r, 200);
        check_code(ASK(f, API_LIST, &res_pods, .user = &n1, .options = { .field_selector = STR("spec.nodeName=n2") }),
                   403);
        check_code(ASK(f, API_GET, &res_leases, "kube-node-lease", "n2", .user = &n1), 403);
        check_code(ASK(f, API_GET, &res_csinodes, NULL, "n1", .user = &n1), 404);
}

/* What upstream's node authorizer answers, row by row. The pods p of n1 and q of n2 refer to things of their names. */
static void a_node_may_what_its_pods_need(void **state) {
        static const struct {
                const char *verbs, *group, *resource, *sub, *ns, *name, *fields;
                bool allowed;
        } table[] = {
                { "get list watch", "", "configmaps", "", "default", "c-p", "", true },
                { "get list watch", "", "secrets", "", "default", "s-p", "", true },
                { "get", "", "secrets", "", "default", "shared", "", true },
                { "get", "", "secrets", "", "default", "s-pv-p", "", true },
                { "list watch", "", "secrets", "", "default", "", "", false },
                { "list", "", "secrets", "", "", "s-p", "", false },
                { "get", "", "secrets", "x", "default", "s-p", "", false },
                { "create update patch delete", "", "secrets", "", "default", "s-p", "", false },
                { "get", "", "configmaps", "", "default", "c-q", "", false },
                { "get", "", "secrets", "", "default", "s-q", "", false },
                { "get", "", "secrets", "", "default", "s-pv-q", "", false },
                { "get", "", "secrets", "", "other", "s-p", "", false },
                { "get", "", "persistentvolumeclaims", "", "default", "k-p", "", true },
                { "get", "", "persistentvolumeclaims", "", "default", "k-q", "", false },
                { "update patch", "", "persistentvolumeclaims", "status", "default", "k-p", "", true },
                { "get", "", "persistentvolumeclaims", "status", "default", "k-p", "", false },
                { "update", "", "persistentvolumeclaims", "status", "default", "k-q", "", false },
                { "list watch", "", "persistentvolumeclaims", "", "default", "k-p", "", false },
                { "get", "", "persistentvolumes", "", "", "pv-p", "", true },
                { "get", "", "persistentvolumes", "", "", "pv-q", "", false },
                { "get", "storage.k8s.io", "volumeattachments", "", "", "va-n1", "", true },
                { "get", "storage.k8s.io", "volumeattachments", "", "", "va-n2", "", false },
                { "list", "storage.k8s.io", "volumeattachments", "", "", "", "", false },
                { "create", "", "serviceaccounts", "token", "default", "a-p", "", true },
                { "create", "", "serviceaccounts", "token", "default", "a-q", "", false },
                { "create", "", "serviceaccounts", "", "default", "a-p", "", false },
                { "update", "", "serviceaccounts", "token", "default", "a-p", "", false },
                { "get create update patch delete", "coordination.k8s.io", "leases", "", "foo", "n1", "", false },
                { "get update patch delete", "coordination.k8s.io", "leases", "", "kube-node-lease", "n2", "", false },
                { "list watch", "coordination.k8s.io", "leases", "", "kube-node-lease", "", "", false },
                { "get create update patch delete", "coordination.k8s.io", "leases", "", "kube-node-lease", "n1", "",
                  true },
                { "get", "storage.k8s.io", "csinodes", "csiDrivers", "", "n1", "", false },
                { "get update patch delete", "storage.k8s.io", "csinodes", "", "", "n2", "", false },
                { "list watch", "storage.k8s.io", "csinodes", "", "", "", "", false },
                { "get create update patch delete", "storage.k8s.io", "csinodes", "", "", "n1", "", true },
                { "get list watch", "", "pods", "", "default", "p", "", true },
                { "get list watch", "", "pods", "", "default", "q", "", false },
                { "list watch", "", "pods", "", "", "", "spec.nodeName=n1", true },
                { "list watch", "", "pods", "", "", "", "spec.nodeName==n1", true },
                { "list watch", "", "pods", "", "", "", "spec.nodeName!=n1", false },
                { "list watch", "", "pods", "", "", "", "spec.nodeName=n2", false },
                { "list watch", "", "pods", "", "", "", "", false },
                { "create", "", "pods", "", "default", "", "", true },
                { "create delete", "", "pods", "proxy", "default", "p", "", false },
                { "delete", "", "pods", "", "default", "q", "", true }, /* NodeRestriction looks at these */
                { "update patch", "", "pods", "status", "default", "q", "", true },
                { "get", "", "pods", "status", "default", "p", "", false },
                { "create", "", "pods", "eviction", "default", "q", "", true },
                { "update patch", "", "pods", "", "default", "p", "", false },
                { "get list watch", "", "nodes", "", "", "n1", "", true },
                { "get list watch", "", "nodes", "", "", "n2", "", false },
                { "list watch", "", "nodes", "", "", "", "", false },
                { "create update patch", "", "nodes", "", "", "n2", "", true },
                { "delete", "", "nodes", "", "", "n1", "", false },
                { "update patch", "", "nodes", "status", "", "n1", "", true },
                { "get", "", "nodes", "status", "", "n1", "", false },
                { "get list watch", "", "services", "", "default", "", "", true },
                { "create", "", "events", "", "default", "", "", true },
        };
        static const char pod[] =
                        "{\"metadata\":{\"name\":\"%c\"},\"spec\":{\"nodeName\":\"%s\",\"serviceAccountName\":\"a-%c\","
                        "\"automountServiceAccountToken\":false,\"containers\":[{\"name\":\"c\",\"image\":\"x\","
                        "\"envFrom\":[{\"configMapRef\":{\"name\":\"c-%c\"}},{\"secretRef\":{\"name\":\"shared\"}}]}],"
                        "\"volumes\":[{\"name\":\"s\",\"projected\":{\"sources\":[{\"secret\":{\"name\":\"s-%c\"}}]}},"
                        "{\"name\":\"k\",\"persistentVolumeClaim\":{\"claimName\":\"k-%c\"}}]}}";
        static const char pv[] = "{\"metadata\":{\"name\":\"pv-%c\"},\"spec\":{\"capacity\":{\"storage\":\"1Gi\"},"
                                 "\"accessModes\":[\"ReadWriteOnce\"],\"claimRef\":{\"namespace\":\"default\",\"name\":"
                                 "\"k-%c\"},"
                                 "\"flexVolume\":{\"driver\":\"x/y\",\"secretRef\":{\"name\":\"s-pv-%c\"}}}}";
        static const char attachment[] =
                        "{\"metadata\":{\"name\":\"va-%s\"},\"spec\":{\"attacher\":\"x\",\"nodeName\":\"%s\","
                        "\"source\":{\"persistentVolumeName\":\"pv\"}}}";
        struct fixture *f = *state;

        make_account(f, "default");
        for (int i = 0; i < 2; i++) {
                const char *node = i ? "n2" : "n1";
                char c = i ? 'q' : 'p';

                make(f, &res_serviceaccounts, "default", arena_printf(f->a, "{\"metadata\":{\"name\":\"a-%c\"}}", c).p);
                make(f, &res_pods, "default", arena_printf(f->a, pod, c, node, c, c, c, c).p);
                make(f, &res_persistentvolumes, NULL, arena_printf(f->a, pv, c, c, c).p);
                make(f, &res_volumeattachments, NULL, arena_printf(f->a, attachment, node, node).p);
        }
        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                struct str verbs = str_of(table[i].verbs), verb;

                while (str_split(&verbs, ' ', &verb)) {
                        struct attributes at = { arena_cstr(f->a, verb),
                                                 str_of(table[i].group),
                                                 STR("v1"),
                                                 str_of(table[i].resource),
                                                 str_of(table[i].sub),
                                                 str_of(table[i].ns),
                                                 str_of(table[i].name),
                                                 str_n(NULL, 0),
                                                 str_of(table[i].fields),
                                                 STR("") };

                        if ((authorize_why(f->s, &n1, &at, NULL) == AUTHZ_ALLOW) != table[i].allowed)
                                fail_msg("%s %s/%s %s %s", at.verb, table[i].resource, table[i].sub, table[i].name,
                                         table[i].allowed ? "is refused" : "is allowed");
                }
        }
}

static void nobody_changes_what_nodes_may(void **state) {
        struct fixture *f = *state;

        check_code(ASK(f, API_PATCH, &res_clusterroles, NULL, "system:node", .patch = API_PATCH_MERGE,
                       .body = "{\"rules\":[{\"apiGroups\":[\"\"],\"resources\":[\"namespaces\"],\"verbs\":[\"get\"]}]"
                               "}"),
                   200);
        check_code(ASK(f, API_GET, &res_namespaces, NULL, "default", .user = &n1), 403);
        check_code(ASK(f, API_LIST, &res_services, "default", .user = &n1), 200);
}

#define MIRROR "\"annotations\":{\"kubernetes.io/config.mirror\":\"x\"}"

#define OWN ",\"nodeName\":\"n1\""
#define OWNED                                                                                                       \
        "," MIRROR ",\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"name\":\"n1\",\"controller\":" \
        "true,\"uid\":\""
#define REFERENCES "node \"n1\" can not create pods that reference"

static void a_node_creates_mirror_pods_only(void **state) {
        struct fixture *f = *state;
        static const struct {
                const char *meta, *spec, *text;
        } table[] = {
                { "", "",
                  "pod does not have \"kubernetes.io/config.mirror\" annotation, node \"n1\" can only create "
                  "mirror pods" },
                { "," MIRROR, ",\"serviceAccountName\":\"a\"", "a mirror pod may not reference service accounts" },
                { "," MIRROR, "", "node \"n1\" can only create pods with spec.nodeName set to itself" },
                { "," MIRROR, ",\"nodeName\":\"n1\"",
                  "node \"n1\" can only create pods with an owner reference set to itself" },
                { "," MIRROR ",\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"name\":\"n1\",\"uid\":"
                  "\"u\"}]",
                  ",\"nodeName\":\"n1\"",
                  "node \"n1\" can only create pods with a controller owner reference set to itself" },
                { OWNED, OWN ",\"imagePullSecrets\":[{\"name\":\"s\"}]", "a mirror pod may not reference secrets" },
                { OWNED,
                  OWN ",\"volumes\":[{\"name\":\"v\",\"projected\":{\"sources\":[{\"configMap\":{\"name\":\"c\"}}]}}]",
                  REFERENCES " configmaps" },
                { OWNED, OWN ",\"volumes\":[{\"name\":\"v\",\"persistentVolumeClaim\":{\"claimName\":\"c\"}}]",
                  REFERENCES " persistentvolumeclaims" },
                { OWNED, OWN ",\"resourceClaims\":[{\"name\":\"c\",\"resourceClaimName\":\"d\"}]",
                  REFERENCES " resourceclaims" },
                { OWNED, OWN ",\"nodeSelector\":{\"secret\":\"x\",\"configMap\":\"y\"}", NULL },
        };
        const char *uid;

        make_account(f, "default");
        make(f, &res_nodes, NULL, "{\"metadata\":{\"name\":\"n1\"}}");
        uid = at(f, ASK(f, API_GET, &res_nodes, NULL, "n1"), ".metadata.uid");
        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                const char *body = arena_printf(f->a,
                                                "{\"metadata\":{\"name\":\"m\"%s%s%s},\"spec\":{\"containers\":[{"
                                                "\"name\":\"c\",\"image\":\"x\"}]%s}}",
                                                table[i].meta, strcmp(table[i].meta, OWNED) == 0 ? uid : "",
                                                strcmp(table[i].meta, OWNED) == 0 ? "\"}]" : "", table[i].spec)
                                                   .p;

                if (!table[i].text) {
                        check_code(ASK(f, API_CREATE, &res_pods, "default", .body = body, .user = &n1), 201);
                        continue;
                }
                check_error(ASK(f, API_CREATE, &res_pods, "default", .body = body, .user = &n1), 403,
                            arena_printf(f->a, "pods \"m\" is forbidden: %s", table[i].text).p);
        }
}

static void a_node_deletes_its_pods_only(void **state) {
        struct fixture *f = *state;
        static const char refusal[] =
                        "pods \"m\" is forbidden: node \"n2\" can only delete pods with spec.nodeName set to "
                        "itself";
        const struct api_user n2 = { .name = STR("system:node:n2"), .groups = node_groups, .n_groups = 2 };

        make_account(f, "default");
        make(f, &res_pods, "default",
             "{\"metadata\":{\"name\":\"m\"},\"spec\":{\"nodeName\":\"n1\",\"containers\":[{\"name\":\"c\",\"image\":"
             "\"x\"}]}}");
        check_error(ASK(f, API_DELETE, &res_pods, "default", "m", .user = &n2), 403, refusal);
        check_code(ASK(f, API_DELETE, &res_pods, "default", "m", .user = &n1), 200);
        check_code(ASK(f, API_DELETE, &res_pods, "default", "m", .user = &n2), 200); /* which does nothing */
        check_error(ASK(f, API_DELETE, &res_pods, "default", "m", .user = &n2, .grace_zero = true), 403, refusal);
        check_error(ASK(f, API_CREATE, &res_pods, "default", .user = &n1,
                        .body = "{\"metadata\":{\"name\":\"o\"" OWNED
                                "x\"}]},\"spec\":{\"containers\":[{\"name\":\"c\","
                                "\"image\":\"x\"}]" OWN "}}"),
                    404, "node \"n1\" not found");
}

static void a_node_steers_nothing_to_itself(void **state) {
        struct fixture *f = *state;
        static const struct {
                const char *patch, *text; /* NULL: allowed */
        } table[] = {
                { "{\"metadata\":{\"labels\":{\"color\":\"red\",\"node.kubernetes.io/x\":\"1\"}}}", NULL },
                { "{\"metadata\":{\"labels\":{\"topology.kubernetes.io/zone\":\"z\"}}}", NULL },
                { "{\"metadata\":{\"labels\":{\"node-restriction.kubernetes.io/a\":\"1\",\"foo.k8s.io/b\":\"2\"}}}",
                  "is not allowed to modify labels: foo.k8s.io/b, node-restriction.kubernetes.io/a" },
                { "{\"spec\":{\"taints\":[{\"key\":\"a\",\"effect\":\"NoSchedule\"}]}}",
                  "node \"n1\" is not allowed to modify taints" },
                { "{\"metadata\":{\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"name\":\"p\",\"uid\":"
                  "\"u\"}]}}",
                  "node \"n1\" is not allowed to modify ownerReferences" },
        };

        check_error(ASK(f, API_CREATE, &res_nodes, .user = &n1,
                        .body = "{\"metadata\":{\"name\":\"n1\",\"labels\":{\"node-role.kubernetes.io/x\":\"\"}}}"),
                    403,
                    "nodes \"n1\" is forbidden: node \"n1\" is not allowed to set the following labels: "
                    "node-role.kubernetes.io/x");
        make(f, &res_nodes, NULL, "{\"metadata\":{\"name\":\"n1\"}}");
        make(f, &res_nodes, NULL, "{\"metadata\":{\"name\":\"n2\"}}");
        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                struct answer r = ASK(f, API_PATCH, &res_nodes, NULL, "n1", .patch = API_PATCH_MERGE,
                                      .body = table[i].patch, .user = &n1);

                if (table[i].text)
                        check_error(r, 403, arena_printf(f->a, "nodes \"n1\" is forbidden: %s", table[i].text).p);
                else
                        check_code(r, 200);
        }
        check_error(ASK(f, API_PATCH, &res_nodes, NULL, "n2", "status", .patch = API_PATCH_MERGE, .user = &n1,
                        .body = "{\"status\":{\"phase\":\"x\"}}"),
                    403, "nodes \"n2\" is forbidden: node \"n1\" is not allowed to modify node \"n2\"");
        check_error(ASK(f, API_CREATE, &res_leases, "kube-node-lease", .user = &n1,
                        .body = "{\"metadata\":{\"generateName\":\"n1\"}}"),
                    403,
                    "leases.coordination.k8s.io \"n1\" is forbidden: can only access node lease with the same name as "
                    "the requesting node");
}

static void a_node_asks_for_tokens_of_its_pods(void **state) {
        struct fixture *f = *state;
        static const char spec[] = "{\"spec\":{\"boundObjectRef\":{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"name\":"
                                   "\"%s\",\"uid\":\"%s\"}}}";
        const char *uid, *other;

        make_account(f, "default");
        make(f, &res_pods, "default",
             "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"nodeName\":\"n1\",\"containers\":[{\"name\":\"c\",\"image\":"
             "\"x\"}]}}");
        make(f, &res_pods, "default",
             "{\"metadata\":{\"name\":\"q\"},\"spec\":{\"nodeName\":\"n2\",\"containers\":[{\"name\":\"c\",\"image\":"
             "\"x\"}]}}");
        check_error(ASK(f, API_CREATE, &res_serviceaccounts, "default", "default", "token", .body = "{\"spec\":{}}",
                        .user = &n1),
                    403, "serviceaccounts \"default\" is forbidden: node requested token not bound to a pod");
        uid = at(f, ASK(f, API_GET, &res_pods, "default", "p"), ".metadata.uid");
        check_code(ASK(f, API_CREATE, &res_serviceaccounts, "default", "default", "token", .user = &n1,
                       .body = arena_printf(f->a, spec, "p", uid).p),
                   201);
        other = arena_printf(f->a,
                             "{\"spec\":{\"audiences\":[\"vault\"],\"boundObjectRef\":{\"kind\":\"Pod\",\"apiVersion\":"
                             "\"v1\",\"name\":\"p\",\"uid\":\"%s\"}}}",
                             uid)
                                .p;
        check_error(ASK(f, API_CREATE, &res_serviceaccounts, "default", "default", "token", .user = &n1, .body = other),
                    403,
                    "serviceaccounts \"default\" is forbidden: audience \"vault\" not found in pod spec volume, "
                    "system:node:n1 is not authorized to request tokens for this audience");
        make(f, &res_clusterroles, NULL,
             "{\"metadata\":{\"name\":\"vault\"},\"rules\":[{\"apiGroups\":[\"\"],\"resources\":[\"vault\"],\"verbs\":"
             "[\"request-serviceaccounts-token-audience\"]}]}");
        make(f, &res_clusterrolebindings, NULL,
             "{\"metadata\":{\"name\":\"vault\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":"
             "\"ClusterRole\",\"name\":\"vault\"},\"subjects\":[{\"kind\":\"Group\",\"name\":\"system:nodes\","
             "\"apiGroup\":\"rbac.authorization.k8s.io\"}]}");
        check_code(ASK(f, API_CREATE, &res_serviceaccounts, "default", "default", "token", .user = &n1, .body = other),
                   201);
        uid = at(f, ASK(f, API_GET, &res_pods, "default", "q"), ".metadata.uid");
        check_error(ASK(f, API_CREATE, &res_serviceaccounts, "default", "default", "token", .user = &n1,
                        .body = arena_printf(f->a, spec, "q", uid).p),
                    403,
                    "serviceaccounts \"default\" is forbidden: node requested token bound to a pod scheduled on a "
                    "different node");
        check_error(ASK(f, API_CREATE, &res_pods, "default", "q", "eviction", .user = &n1,
                        .body = "{\"metadata\":{\"name\":\"q\"}}"),
                    403, "pods \"q\" is forbidden: node n1 can only evict pods with spec.nodeName set to itself");
}

/* Of what a volume's driver asks for, and what is said when it is not there. */
static void a_node_asks_for_tokens_that_drivers_want(void **state) {
        static const struct {
                const char *volume, *text; /* NULL: made */
        } table[] = {
                { "\"csi\":{\"driver\":\"d.x\"}", NULL },
                { "\"persistentVolumeClaim\":{\"claimName\":\"claim\"}", NULL },
                { "\"azureFile\":{\"shareName\":\"a\",\"secretName\":\"b\"}",
                  "csidriver.storage.k8s.io \"file.csi.azure.com\" not found" },
                { "\"csi\":{\"driver\":\"e.x\"}", "csidriver.storage.k8s.io \"e.x\" not found" },
                { "\"persistentVolumeClaim\":{\"claimName\":\"other\"}", "persistentvolumeclaim \"other\" not found" },
        };
        struct fixture *f = *state;

        make_account(f, "default");
        make(f, &res_csidrivers, NULL,
             "{\"metadata\":{\"name\":\"d.x\"},\"spec\":{\"tokenRequests\":[{\"audience\":\"vault\"}]}}");
        make(f, &res_persistentvolumes, NULL,
             "{\"metadata\":{\"name\":\"pv\"},\"spec\":{\"capacity\":{\"storage\":\"1Gi\"},\"accessModes\":["
             "\"ReadWriteOnce\"],\"csi\":{\"driver\":\"d.x\",\"volumeHandle\":\"h\"}}}");
        make(f, &res_persistentvolumeclaims, "default",
             "{\"metadata\":{\"name\":\"claim\"},\"spec\":{\"accessModes\":[\"ReadWriteOnce\"],\"volumeName\":\"pv\","
             "\"resources\":{\"requests\":{\"storage\":\"1Gi\"}}}}");
        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                const char *name = arena_printf(f->a, "v%zu", i).p;
                struct answer r;

                make(f, &res_pods, "default",
                     arena_printf(f->a,
                                  "{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"nodeName\":\"n1\",\"containers\":[{"
                                  "\"name\":\"c\",\"image\":\"x\"}],\"volumes\":[{\"name\":\"v\",%s},{\"name\":"
                                  "\"w\",%s}]}}",
                                  name, table[i].volume, table[i].volume)
                                     .p);
                r = ASK(f, API_CREATE, &res_serviceaccounts, "default", "default", "token", .user = &n1,
                        .body = arena_printf(f->a,
                                             "{\"spec\":{\"audiences\":[\"vault\"],\"boundObjectRef\":{\"kind\":"
                                             "\"Pod\",\"apiVersion\":\"v1\",\"name\":\"%s\",\"uid\":\"%s\"}}}",
                                             name, at(f, ASK(f, API_GET, &res_pods, "default", name), ".metadata.uid"))
                                                .p);
                if (table[i].text)
                        check_error(r, 403,
                                    arena_printf(f->a,
                                                 "serviceaccounts \"default\" is forbidden: error validating audience "
                                                 "\"vault\": %s",
                                                 table[i].text)
                                                    .p);
                else
                        check_code(r, 201);
        }
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
        const struct CMUnitTest tests[] = {
                T(nobody_gives_what_they_do_not_have),
                T(a_role_does_not_grow_beyond_its_writer),
                T(a_binding_gives_what_its_writer_has),
                T(who_may_change_may_not_make),
                T(escalate_lets_give_more),
                T(reviews_say_which_binding_allows),
                T(policy_is_completed_at_start),
                T(what_was_split_off_is_bound_as_before),
                T(a_node_sees_what_belongs_to_it),
                T(a_node_creates_mirror_pods_only),
                T(a_node_deletes_its_pods_only),
                T(a_node_may_what_its_pods_need),
                T(a_node_steers_nothing_to_itself),
                T(a_node_asks_for_tokens_of_its_pods),
                T(nobody_changes_what_nodes_may),
                T(a_node_asks_for_tokens_that_drivers_want),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
