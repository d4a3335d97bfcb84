/* Pod Security: what each check says, from which version on; and how it reaches those who create pods. */
#include "help.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "apiserver/admission/pod_security.h"
#include "base/metrics.h"

#define BASE POD_SECURITY_BASELINE
#define REST POD_SECURITY_RESTRICTED
#define LATEST POD_SECURITY_LATEST
/* A pod that restricted admits, with something added in front to its spec, or to its container. */
#define GOOD(spec, container)                                                                                  \
        "{'spec':{" spec "'securityContext':{'runAsNonRoot':true,'seccompProfile':{'type':'RuntimeDefault'}}," \
        "'containers':[{'name':'c'," container                                                                 \
        "'securityContext':{'allowPrivilegeEscalation':false,'capabilities':{'drop':['ALL']}}}]}}"
#define CONTAINER(context) "{'spec':{'containers':[{'name':'c','securityContext':{" context "}}]}}"
#define POD(context) "{'spec':{'securityContext':{" context "},'containers':[{'name':'c'}]}}"

static const struct {
        enum pod_security level;
        int minor;
        const char *pod, *want; /* want "": admitted */
} cases[] = {
        { REST, LATEST, GOOD("", ""), "" },
        { POD_SECURITY_PRIVILEGED, LATEST, CONTAINER("'privileged':true"), "" },
        { REST, LATEST, "{'spec':{'containers':[{'name':'c'}]}}",
          "allowPrivilegeEscalation != false (container \"c\" must set "
          "securityContext.allowPrivilegeEscalation=false), "
          "unrestricted capabilities (container \"c\" must set securityContext.capabilities.drop=[\"ALL\"]), "
          "runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true), "
          "seccompProfile (pod or container \"c\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" "
          "or "
          "\"Localhost\")" },
        { REST, 7, "{'spec':{'containers':[{'name':'c'}]}}",
          "runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true)" },
        { REST, LATEST,
          "{'spec':{'os':{'name':'windows'},'securityContext':{'runAsNonRoot':true},'containers':[{"
          "'name':'c'}]}}",
          "" },
        { REST, 24,
          "{'spec':{'os':{'name':'windows'},'securityContext':{'runAsNonRoot':true,'seccompProfile':{'type':"
          "'Localhost'}},'containers':[{'name':'c','securityContext':{'capabilities':{'drop':['ALL']}}}]}}",
          "allowPrivilegeEscalation != false (container \"c\" must set "
          "securityContext.allowPrivilegeEscalation=false)" },
        { BASE, LATEST, CONTAINER("'privileged':true"),
          "privileged (container \"c\" must not set securityContext.privileged=true)" },
        { BASE, LATEST, "{'spec':{'hostNetwork':true,'hostPID':true,'hostIPC':true}}",
          "host namespaces (hostNetwork=true, hostPID=true, hostIPC=true)" },
        { BASE, LATEST,
          "{'spec':{'containers':[{'name':'a','securityContext':{'capabilities':{'add':['SYS_ADMIN',"
          "'CHOWN']}}},{'name':'b','securityContext':{'capabilities':{'add':['NET_RAW']}}}]}}",
          "non-default capabilities (containers \"a\", \"b\" must not include \"NET_RAW\", \"SYS_ADMIN\" in "
          "securityContext.capabilities.add)" },
        { REST, LATEST,
          "{'spec':{'securityContext':{'runAsNonRoot':true,'seccompProfile':{'type':'RuntimeDefault'}},"
          "'containers':[{'name':'c','securityContext':{'allowPrivilegeEscalation':false,'capabilities':{"
          "'add':['CHOWN']}}}]}}",
          "unrestricted capabilities (container \"c\" must set securityContext.capabilities.drop=[\"ALL\"]; container "
          "\"c\" must not include \"CHOWN\" in securityContext.capabilities.add)" },
        { BASE, LATEST, "{'spec':{'volumes':[{'name':'a','hostPath':{'path':'/'}},{'name':'b','emptyDir':{}}]}}",
          "hostPath volumes (volume \"a\")" },
        { REST, LATEST,
          GOOD("'volumes':[{'name':'a','hostPath':{'path':'/'}},{'name':'b','nfs':{}},{'name':'e',"
               "'image':{}}],",
               ""),
          "restricted volume types (volumes \"a\", \"b\" use restricted volume types \"hostPath\", \"nfs\")" },
        { BASE, LATEST,
          "{'spec':{'containers':[{'name':'c','ports':[{'hostPort':9},{'hostPort':80},{'hostPort':0}]}]}}",
          "hostPort (container \"c\" uses hostPorts 80, 9)" },
        { BASE, LATEST, CONTAINER("'procMount':'Unmasked'"),
          "procMount (container \"c\" must not set securityContext.procMount to \"Unmasked\")" },
        { BASE, LATEST, CONTAINER("'procMount':'Default'"), "" },
        { BASE, LATEST, POD("'seLinuxOptions':{'type':'x','user':'u','role':'r'}"),
          "seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type \"x\"; user may not be set; role may "
          "not be set)" },
        { BASE, LATEST, CONTAINER("'seLinuxOptions':{'type':'container_engine_t'}"), "" },
        { BASE, 30, CONTAINER("'seLinuxOptions':{'type':'container_engine_t'}"),
          "seLinuxOptions (container \"c\" set forbidden securityContext.seLinuxOptions: type "
          "\"container_engine_t\")" },
        { BASE, LATEST,
          "{'spec':{'securityContext':{'seccompProfile':{'type':'Unconfined'}},'containers':[{'name':'c',"
          "'securityContext':{'seccompProfile':{'type':'Unconfined'}}}]}}",
          "seccompProfile (pod and container \"c\" must not set securityContext.seccompProfile.type to "
          "\"Unconfined\")" },
        { BASE, 18, "{'metadata':{'annotations':{'seccomp.security.alpha.kubernetes.io/pod':'unconfined'}},'spec':{}}",
          "seccompProfile (forbidden annotation seccomp.security.alpha.kubernetes.io/pod=\"unconfined\")" },
        { BASE, LATEST, POD("'sysctls':[{'name':'a'},{'name':'kernel.shm_rmid_forced'},{'name':'net.ipv4.tcp_rmem'}]"),
          "forbidden sysctls (a)" },
        { BASE, 26, POD("'sysctls':[{'name':'net.ipv4.ip_local_reserved_ports'}]"),
          "forbidden sysctls (net.ipv4.ip_local_reserved_ports)" },
        { BASE, 31, POD("'sysctls':[{'name':'net.ipv4.tcp_rmem'}]"), "forbidden sysctls (net.ipv4.tcp_rmem)" },
        { BASE, LATEST, POD("'windowsOptions':{'hostProcess':true}"),
          "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)" },
        { BASE, LATEST, CONTAINER("'appArmorProfile':{'type':'Unconfined'}"),
          "forbidden AppArmor profile (container \"c\" must not set AppArmor profile type to \"Unconfined\")" },
        { BASE, LATEST,
          "{'metadata':{'annotations':{'container.apparmor.security.beta.kubernetes.io/c':'unconfined'}},"
          "'spec':{'securityContext':{'appArmorProfile':{'type':'Unconfined'}}}}",
          "forbidden AppArmor profiles (pod and annotation must not set AppArmor profile type to \"Unconfined\", "
          "\"container.apparmor.security.beta.kubernetes.io/c=\"unconfined\"\")" },
        { REST, LATEST,
          "{'spec':{'securityContext':{'runAsNonRoot':false,'runAsUser':0,'seccompProfile':{'type':"
          "'RuntimeDefault'}},'ephemeralContainers':[{'name':'e','securityContext':{'runAsNonRoot':false,"
          "'runAsUser':0,'allowPrivilegeEscalation':false,'capabilities':{'drop':['ALL']}}}]}}",
          "runAsNonRoot != true (pod and container \"e\" must not set securityContext.runAsNonRoot=false), "
          "runAsUser=0 (pod and container \"e\" must not set runAsUser=0)" },
        { REST, 22, GOOD("'x':1,", "'y':{'securityContext':{'runAsUser':0}},"), "" },
};

/* JSON with single quotes. */
static const char *text(struct fixture *f, const char *single) {
        char *s = arena_cstr(f->a, str_of(single));

        for (char *p = s; *p; p++)
                *p = *p == '\'' ? '"' : *p;
        return s;
}

static void each_check_says_what_is_wrong(void **state) {
        struct fixture *f = *state;

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct json *pod;
                struct str got;
                bool bad;

                assert_int_equal(json_parse(f->a, str_of(text(f, cases[i].pod)), NULL, &pod, NULL), 0);
                bad = pod_security_violates(f->a, (struct pod_security_level) { cases[i].level, cases[i].minor }, pod,
                                            true, &got);
                if (!str_eqc(got, cases[i].want))
                        fail_msg("%s\ngot  %s\nwant %s", cases[i].pod, arena_cstr(f->a, got), cases[i].want);
                assert_int_equal(bad, cases[i].want[0] != '\0');
        }
}

static struct answer namespace(struct fixture *f, const char *name, const char *labels) {
        struct answer r = ASK(
                        f, API_CREATE, &res_namespaces,
                        .body = text(f,
                                     arena_printf(f->a, "{'metadata':{'name':'%s','labels':{%s}}}", name, labels).p));
        if (r.code == 201)
                make_account(f, name);
        return r;
}

static struct answer pod(struct fixture *f, const char *ns, const char *name, const char *spec) {
        return ASK(f, API_CREATE, &res_pods, ns,
                   .body = text(f, arena_printf(f->a,
                                                "{'metadata':{'name':'%s'},'spec':{%s'automountServiceAccountToken':"
                                                "false,'containers':[{'name':'c','image':'x'}]}}",
                                                name, spec)
                                                   .p));
}

#define VIOLATION "host namespaces (hostPID=true)"

static void enforce_refuses_and_warn_warns(void **state) {
        struct fixture *f = *state;
        struct answer r;

        assert_int_equal(namespace(f, "e", "'pod-security.kubernetes.io/enforce':'baseline'").code, 201);
        r = pod(f, "e", "p", "'hostPID':true,");
        assert_int_equal(r.code, 403);
        assert_string_equal(r.message, "pods \"p\" is forbidden: violates PodSecurity \"baseline:latest\": " VIOLATION);
        assert_int_equal(r.n_warnings, 0);
        r = pod(f, "e", "q", "");
        assert_int_equal(r.code, 201);
        assert_int_equal(r.n_warnings, 0);

        namespace(f, "w",
                  "'pod-security.kubernetes.io/warn':'baseline','pod-security.kubernetes.io/warn-version':"
                  "'v1.24'");
        r = pod(f, "w", "p", "'hostPID':true,");
        assert_int_equal(r.code, 201);
        assert_int_equal(r.n_warnings, 1);
        assert_string_equal(arena_cstr(f->a, r.warning), "would violate PodSecurity \"baseline:v1.24\": " VIOLATION);
}

static void decisions_are_counted(void **state) {
        static const char *const lines[] = {
                "\npod_security_evaluations_total{decision=\"deny\",mode=\"enforce\",policy_level=\"baseline\","
                "policy_version=\"v1.30\",request_operation=\"create\",resource=\"pod\",subresource=\"\"} 1\n",
                "\npod_security_evaluations_total{decision=\"deny\",mode=\"warn\",policy_level=\"restricted\","
                "policy_version=\"future\",request_operation=\"create\",resource=\"pod\",subresource=\"\"} 1\n",
                "\npod_security_evaluations_total{decision=\"allow\",mode=\"enforce\",policy_level=\"privileged\","
                "policy_version=\"latest\",request_operation=\"update\",resource=\"pod\",subresource=\"\"} 0\n",
        };
        struct fixture *f = *state;
        _cleanup_buf_ struct buf b = BUF_INIT;

        namespace(f, "m",
                  "'pod-security.kubernetes.io/enforce':'baseline',"
                  "'pod-security.kubernetes.io/enforce-version':'v1.30',"
                  "'pod-security.kubernetes.io/warn':'restricted',"
                  "'pod-security.kubernetes.io/warn-version':'v1.99'");
        assert_int_equal(pod(f, "m", "a", "'hostPID':true,").code, 403);
        assert_int_equal(pod(f, "m", "b", "").code, 201);
        metrics_collect(&b);
        buf_putc(&b, '\0');
        for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
                if (!strstr(b.p, lines[i]))
                        fail_msg("not counted: %s", lines[i]);
}

static void workloads_are_warned_about_their_pods(void **state) {
        struct fixture *f = *state;
        struct answer r;

        namespace(f, "e", "'pod-security.kubernetes.io/enforce':'baseline'");
        r = ASK(f, API_CREATE, &res_deployments, "e",
                .body = text(f, "{'metadata':{'name':'d'},'spec':{'selector':{'matchLabels':{'a':'b'}},'template':{"
                                "'metadata':{'labels':{'a':'b'}},'spec':{'hostPID':true,'containers':[{'name':'c',"
                                "'image':'x'}]}}}}"));
        assert_int_equal(r.code, 201);
        assert_string_equal(arena_cstr(f->a, r.warning), "would violate PodSecurity \"baseline:latest\": " VIOLATION);
}

static void labels_must_make_sense(void **state) {
        struct fixture *f = *state;
        struct answer r = namespace(f, "x",
                                    "'pod-security.kubernetes.io/enforce':'strict',"
                                    "'pod-security.kubernetes.io/warn-version':'v1.x'");

        assert_int_equal(r.code, 422);
        assert_string_equal(
                        r.message,
                        "Namespace \"x\" is invalid: [metadata.labels[pod-security.kubernetes.io/enforce]: Invalid "
                        "value: \"strict\": must be one of privileged, baseline, restricted, "
                        "metadata.labels[pod-security.kubernetes.io/warn-version]: Invalid value: \"v1.x\": must be "
                        "\"latest\" or \"v1.x\"]");
}

static void who_raises_the_level_hears_of_the_pods(void **state) {
        struct fixture *f = *state;
        struct answer r;

        namespace(f, "n", "");
        pod(f, "n", "b", "'hostPID':true,");
        pod(f, "n", "a", "'hostPID':true,");
        pod(f, "n", "fine", "");
        r = ASK(f, API_PATCH, &res_namespaces, .name = "n", .patch = API_PATCH_MERGE,
                .body = text(f, "{'metadata':{'labels':{'pod-security.kubernetes.io/enforce':'baseline'}}}"));
        assert_int_equal(r.code, 200);
        assert_int_equal(r.n_warnings, 2);
        assert_string_equal(arena_cstr(f->a, r.warning), "existing pods in namespace \"n\" violate the new PodSecurity "
                                                         "enforce level \"baseline:latest\"");
        r = ASK(f, API_PATCH, &res_namespaces, .name = "n", .patch = API_PATCH_MERGE,
                .body = text(f, "{'metadata':{'labels':{'pod-security.kubernetes.io/enforce':'privileged'}}}"));
        assert_int_equal(r.n_warnings, 0);
}

static void an_update_is_looked_at_when_an_image_changes(void **state) {
        struct fixture *f = *state;
        struct answer r;

        namespace(f, "n", "");
        pod(f, "n", "a", "'hostPID':true,");
        ASK(f, API_PATCH, &res_namespaces, .name = "n", .patch = API_PATCH_MERGE,
            .body = text(f, "{'metadata':{'labels':{'pod-security.kubernetes.io/enforce':'baseline'}}}"));
        r = ASK(f, API_PATCH, &res_pods, "n", "a", .patch = API_PATCH_MERGE,
                .body = text(f, "{'metadata':{'labels':{'x':'y'}}}"));
        assert_int_equal(r.code, 200);
        r = ASK(f, API_PATCH, &res_pods, "n", "a", .patch = API_PATCH_STRATEGIC,
                .body = text(f, "{'spec':{'containers':[{'name':'c','image':'y'}]}}"));
        assert_int_equal(r.code, 403);
}

static int configure(struct fixture *f, const char *defaults, struct error *err) {
        const char **args = arena_array(f->a, const char *, 2);
        char path[] = "/tmp/cube-pod-security-XXXXXX";
        FILE *file = fdopen(mkstemp(path), "w");
        int r;

        assert_non_null(file);
        fprintf(file,
                "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins:\n- name: PodSecurity\n"
                "  configuration:\n    kind: PodSecurityConfiguration\n"
                "    apiVersion: pod-security.admission.config.k8s.io/v1\n    defaults: {%s}\n"
                "    exemptions: {namespaces: [free], usernames: [root], runtimeClasses: [vm]}\n",
                defaults);
        fclose(file);
        args[0] = arena_printf(f->a, "admission-control-config-file=%s", path).p;
        f->s->options.args = args;
        r = admission_configure(f->s, err);
        unlink(path);
        return r;
}

static void a_file_has_defaults_and_exemptions(void **state) {
        _cleanup_buf_ struct buf metrics = BUF_INIT;
        struct fixture *f = *state;
        struct error e = ERROR_INIT;
        struct answer r;

        assert_int_equal(configure(f, "enforce: strict", &e), -EINVAL);
        assert_string_equal(e.message,
                            "failed to apply admission: failed to initialize admission plugin \"PodSecurity\": "
                            "PodSecurity configuration error: enforce: must be one of privileged, baseline, "
                            "restricted");
        error_clear(&e);
        assert_int_equal(configure(f, "enforce: baseline, enforce-version: v1.30", &e), 0);
        namespace(f, "n", "");
        r = pod(f, "n", "p", "'hostPID':true,");
        assert_int_equal(r.code, 403);
        assert_string_equal(r.message, "pods \"p\" is forbidden: violates PodSecurity \"baseline:v1.30\": " VIOLATION);
        r = namespace(f, "free", "'pod-security.kubernetes.io/enforce':'restricted'");
        assert_string_equal(arena_cstr(f->a, r.warning),
                            "namespace \"free\" is exempt from Pod Security, and the policy "
                            "(enforce=restricted:v1.30) will be ignored");
        assert_int_equal(pod(f, "free", "p", "'hostPID':true,").code, 201);
        metrics_collect(&metrics);
        for (int i = 0; i < 2; i++)
                assert_true(str_search(buf_str(&metrics),
                                       i ? STR("_exemptions_total{request_operation=\"update\",resource=\"controller\","
                                               "subresource=\"\"} 0\n")
                                         : STR("_exemptions_total{request_operation=\"create\",resource=\"pod\","
                                               "subresource=\"\"} 1\n")) > 0);
        r = ASK(f, API_PATCH, &res_namespaces, .name = "free", .patch = API_PATCH_MERGE,
                .body = text(f, "{'metadata':{'labels':{'pod-security.kubernetes.io/warn':'baseline'}}}"));
        assert_int_equal(r.n_warnings, 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(each_check_says_what_is_wrong),
                TEST(enforce_refuses_and_warn_warns),
                TEST(workloads_are_warned_about_their_pods),
                TEST(decisions_are_counted),
                TEST(labels_must_make_sense),
                TEST(who_raises_the_level_hears_of_the_pods),
                TEST(a_file_has_defaults_and_exemptions),
                TEST(an_update_is_looked_at_when_an_image_changes),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
