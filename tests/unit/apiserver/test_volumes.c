/* Volumes, containers, claims: what is wrong with them and in which words. JSON has ` for its quotes here. */
#include "help.h"

#define NO_MORE "Forbidden: may not specify more than 1 volume type"

static const char *quoted(struct arena *a, const char *text) {
        char *copy = arena_cstr(a, str_of(text));

        for (char *p = copy; *p; p++)
                if (*p == '`')
                        *p = '"';
        return copy;
}

struct row {
        const char *part, *errors; /* a line each, of what is after the prefix; "": it is accepted */
};

/* body: with the part for its %s. */
static void refuses(struct fixture *f, const struct api_resource *r, const char *body, const char *prefix,
                    const struct row *rows, size_t n) {
        for (size_t i = 0; i < n; i++) {
                struct str whole = str_of(quoted(f->a, body)), part = str_of(quoted(f->a, rows[i].part));
                size_t at = (size_t) str_search(whole, STR("%s"));
                struct answer a = ASK(f, API_CREATE, r, r->namespaced ? "default" : "", .options.dry_run = true,
                                      .body = arena_printf(f->a, "%.*s%.*s%s", (int) at, whole.p, (int) part.n, part.p,
                                                           whole.p + at + 2)
                                                              .p);
                _cleanup_buf_ struct buf got = BUF_INIT;
                const struct json *status;

                if (a.code == 422 && json_parse(f->a, str_of(a.status), NULL, (struct json **) &status, NULL) == 0)
                        json_each_item(c, json_at_path(status, "details", "causes")) {
                                struct str field = json_str(json_getc(c, "field"));

                                if (str_has_prefix(field, str_of(prefix)))
                                        field = str_sub(field, strlen(prefix), field.n);
                                buf_printf(&got, "%s%" STR_FMT ": %" STR_FMT, got.n ? "\n" : "", STR_ARG(field),
                                           STR_ARG(json_str(json_getc(c, "message"))));
                        }
                else if (a.code != 201)
                        fail_msg("%s: %d %s", rows[i].part, a.code, a.message);
                if (!str_eqc(buf_str(&got), quoted(f->a, rows[i].errors)))
                        fail_msg("%s\n  is     %" STR_FMT "\n  wanted %s\n", rows[i].part, STR_ARG(buf_str(&got)),
                                 rows[i].errors);
        }
}

#define POD(part)                                                                                                    \
        "{`metadata`:{`name`:`x`},`spec`:{`serviceAccountName`:`default`,`automountServiceAccountToken`:false," part \
        "}}"
#define TABLE(f, r, body, prefix, ...)                                         \
        do {                                                                   \
                static const struct row _rows[] = { __VA_ARGS__ };             \
                refuses((f), (r), (body), (prefix), _rows, ARRAY_SIZE(_rows)); \
        } while (0)

static void a_volume_has_one_source(void **state) {
        struct fixture *f = *state;

        make_account(f, "default");
        TABLE(f, &res_pods, POD("`containers`:[{`name`:`c`,`image`:`i`}],`volumes`:[{%s}]"), "spec.volumes[0]",
              { "`name`:`v`,`emptyDir`:{},`hostPath`:{`path`:`/a/../b`}", ".hostPath: " NO_MORE },
              { "`name`:`v`,`nfs`:{`server`:``,`path`:`a`},`hostPath`:{`path`:`/a/..`}",
                ".hostPath.path: Invalid value: `/a/..`: must not contain '..'\n.nfs: " NO_MORE },
              { "`name`:`v`,`emptyDir`:{},`cephfs`:{`monitors`:[]}", ".cephFS: " NO_MORE },
              { "`name`:`v`,`emptyDir`:{},`downwardAPI`:{`items`:[{`path`:``}]}", ".downwarAPI: " NO_MORE },
              { "`name`:`v`,`hostPath`:{`path`:``},`downwardAPI`:{}",
                ".hostPath.path: Required value\n.downwarAPI: " NO_MORE },
              { "`name`:`v`,`emptyDir`:{`sizeLimit`:`-1`}",
                ".emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity" },
              { "`name`:`v`,`secret`:{`secretName`:`s`,`items`:[{`key`:`k`,`path`:`..`}]}",
                ".secret.items[0].path: Invalid value: `..`: must not contain '..'\n"
                ".secret.items[0].path: Invalid value: `..`: must not start with '..'" },
              { "`name`:`v`,`quobyte`:{`registry`:`[::1]:80,h:1`,`volume`:`v`}", "" },
              { "`name`:`v`,`quobyte`:{`registry`:`[::1],h:1`,`volume`:`v`}",
                ".quobyte.registry: Invalid value: `[::1],h:1`: must be a host:port pair or multiple pairs separated "
                "by commas" },
              { "`name`:`v`,`downwardAPI`:{`items`:[{`path`:`p`,`fieldRef`:{`apiVersion`:`v2`,"
                "`fieldPath`:`metadata.name`}}]}",
                ".downwardAPI.fieldRef.fieldPath: Invalid value: `metadata.name`: error converting fieldPath: "
                "unsupported pod version: v2" },
              { "`name`:`v`,`ephemeral`:{`volumeClaimTemplate`:{`metadata`:{`annotations`:{`/a`:`b`}},`spec`:{"
                "`accessModes`:[`ReadWriteOnce`],`resources`:{`requests`:{`storage`:`1`}}}}}",
                ".ephemeral.volumeClaimTemplate.metadata.annotations: Invalid value: `/a`: prefix part must be "
                "non-empty" },
              { "`name`:`v`,`image`:{}", ".image.reference: Required value" },
              { "`name`:`v`,`hostPath`:{`path`:``,`type`:`bad`}", ".hostPath.path: Required value" },
              { "`name`:`v`,`emptyDir`:{}},{`name`:`v`,`emptyDir`:{}", "spec.volumes[1].name: Duplicate value: `v`" },
              { "`name`:`v`,`nfs`:{`server`:``,`path`:`/`}},{`name`:`v`,`emptyDir`:{}",
                ".nfs.server: Required value" });
}

/* What is wrong is not there for mounts. */
static void mounts_find_valid_volumes(void **state) {
        struct fixture *f = *state;

        make_account(f, "default");
        TABLE(f, &res_pods,
              POD("`volumes`:[{`name`:`v`,`nfs`:{`server`:``,`path`:`/`}},{`name`:`p`,`persistentVolumeClaim`:"
                  "{`claimName`:`c`}}],`containers`:[{`name`:`c`,`image`:`i`,%s}]"),
              "spec.containers[0]",
              { "`volumeMounts`:[{`name`:`v`,`mountPath`:`/a`}]",
                "spec.volumes[0].nfs.server: Required value\n.volumeMounts[0].name: Not found: `v`" },
              { "`volumeDevices`:[{`name`:`p`,`devicePath`:``},{`name`:`p`,`devicePath`:``}]",
                "spec.volumes[0].nfs.server: Required value\n.volumeDevices[0].devicePath: Required value\n"
                ".volumeDevices[1].name: Invalid value: `p`: must be unique\n.volumeDevices[1].devicePath: Required "
                "value\n.volumeDevices[1].devicePath: Invalid value: ``: must be unique" });
}

#define EXEC "`exec`:{`command`:[`a`]}"
#define MORE_HANDLERS "Forbidden: may not specify more than 1 handler type"
#define NOT_INIT "Forbidden: may not be set for init containers without restartPolicy=Always"

static void containers_are_refused(void **state) {
        struct fixture *f = *state;

        make_account(f, "default");
        TABLE(f, &res_pods, POD("`containers`:[{`name`:`c`,`image`:`i`,%s}]"), "spec.containers[0]",
              { "`livenessProbe`:{" EXEC ",`httpGet`:{`port`:0}}", ".livenessProbe.httpGet: " MORE_HANDLERS },
              { "`lifecycle`:{`preStop`:{" EXEC ",`sleep`:{`seconds`:-1}}}",
                ".lifecycle.preStop.sleep: " MORE_HANDLERS },
              { "`lifecycle`:{`postStart`:{}}", ".lifecycle.postStart: Required value: must specify a handler type" },
              { "`terminationMessagePolicy`:`Bad`",
                ".terminationMessagePolicy: Unsupported value: `Bad`: supported values: `File`, "
                "`FallbackToLogsOnError`" },
              { "`resizePolicy`:[{`resourceName`:`cpu`,`restartPolicy`:`Bad`}]",
                ".resizePolicy: Unsupported value: `Bad`: supported values: `NotRequired`, `RestartContainer`" },
              { "`env`:[{`name`:`A`,`valueFrom`:{`secretKeyRef`:{`key`:`k`}}}]",
                ".env[0].valueFrom.secretKeyRef.name: Invalid value: ``: " SUBDOMAIN },
              { "`env`:[{`name`:`A`,`valueFrom`:{`resourceFieldRef`:{`resource`:`limits.memory`,`divisor`:`1m`}}}]",
                ".env[0].valueFrom.resourceFieldRef.divisor: Invalid value: `limits.memory`: only divisor's values 1, "
                "1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the memory resource" },
              { "`securityContext`:{`appArmorProfile`:{`type`:`Bad`,`localhostProfile`:`x`}}",
                ".securityContext.appArmorProfile.type: Unsupported value: `Bad`: supported values: `Localhost`, "
                "`RuntimeDefault`, `Unconfined`" });
        TABLE(f, &res_pods, POD("`containers`:[%s]"), "spec.containers",
              { "{`name`:`A`,`image`:`i`},{`name`:`A`,`image`:`i`}",
                "[0].name: Invalid value: `A`: " LABEL_NAME "\n[1].name: Invalid value: `A`: " LABEL_NAME
                "\n[1].name: Duplicate value: `A`" });
        TABLE(f, &res_pods, POD("`containers`:[{`name`:`c`,`image`:`i`}],`initContainers`:[%s]"), "spec.initContainers",
              { "{`name`:`a`,`image`:`i`,`lifecycle`:{`preStop`:{}},`readinessProbe`:{`periodSeconds`:-1}}",
                "[0].lifecycle: " NOT_INIT "\n[0].readinessProbe: " NOT_INIT },
              { "{`name`:`c`,`image`:`i`}", "[0].name: Duplicate value: `c`" });
}

#define OF_CLUSTER(part) "{`metadata`:{`name`:`x`},`spec`:{`accessModes`:[`ReadWriteOnce`]," part "}}"
#define RECYCLED "spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'"
#define INLINED "Forbidden: may not be specified in the context of inline volumes"
#define LONG_PORTAL "p23456789012345678901234567890123456789012345678901234567890123"

static void volumes_of_the_cluster_are_refused(void **state) {
        struct fixture *f = *state;

        TABLE(f, &res_persistentvolumes, OF_CLUSTER("`capacity`:{`storage`:`1`},%s"), "spec.nothing",
              { "`hostPath`:{`path`:`/a`},`nfs`:{`server`:``}", "spec.nfs: " NO_MORE },
              { "`hostPath`:{`path`:`/a/..`},`persistentVolumeReclaimPolicy`:`Recycle`",
                "spec.hostPath.path: Invalid value: `/a/..`: must not contain '..'\n" RECYCLED },
              { "`hostPath`:{`path`:`//`},`persistentVolumeReclaimPolicy`:`Recycle`", RECYCLED },
              { "`hostPath`:{`path`:`/a`},`local`:{`path`:`/b`}", "spec.local: " NO_MORE },
              { "`local`:{`path`:`/b`}", "spec.nodeAffinity: Required value: Local volume requires node affinity" },
              { "`iscsi`:{`targetPortal`:`" LONG_PORTAL "`,`iqn`:`iqn.2015-02.example.com:test`,`lun`:0,"
                "`initiatorName`:`iqn.2015-02.example.com:init`}",
                "spec.iscsi.targetportal: Invalid value: `" LONG_PORTAL
                "`: Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if "
                "iscsi.initiatorName is specified." },
              { "`mountOptions`:[`a`]", "spec: Required value: must specify a volume type" });
        TABLE(f, &res_persistentvolumes, OF_CLUSTER("`hostPath`:{`path`:`/a`},`capacity`:{%s}"), "spec.capacity",
              { "`storage`:`-1`", "[storage]: Invalid value: -1: must be a valid resource quantity\n"
                                  "[storage]: Invalid value: `-1`: must be greater than zero" });
        TABLE(f, &res_volumeattachments,
              "{`metadata`:{`name`:`x`},`spec`:{`attacher`:`a`,`nodeName`:`n`,`source`:{`inlineVolumeSpec`:{"
              "`accessModes`:[`ReadWriteOnce`],%s}}}}",
              "spec.source.inlineVolumeSpec", { "`csi`:{`driver`:`d`,`volumeHandle`:`h`}", "" },
              { "`csi`:{`driver`:`d`,`volumeHandle`:`h`},`storageClassName`:`-x`,`nodeAffinity`:{},`volumeMode`:`"
                "Block`",
                ".nodeAffinity: " INLINED "\n.storageClassName: " INLINED "\n.volumeMode: Forbidden: may not specify "
                "volumeMode other than Filesystem in the context of inline volumes" },
              { "`csi`:{`driver`:`d`,`volumeHandle`:`h`},`persistentVolumeReclaimPolicy`:`Delete`",
                ".persistentVolumeReclaimPolicy: Forbidden: may only be Retain in the context of inline volumes" },
              { "`hostPath`:{`path`:`/a`}",
                ".csi: Required value: has to be specified in the context of inline volumes" });
}

/* What a claim starts with is told twice, or is lost where upstream loses it. */
static void sources_of_claims_agree(void **state) {
        static const struct {
                const char *part, *old, *new;
        } rows[] = {
                { ",`dataSource`:{`kind`:`PersistentVolumeClaim`,`name`:`n`}", "n", "n" },
                { ",`dataSourceRef`:{`kind`:`K`,`apiGroup`:`g.io`,`name`:`n`}", "n", "n" },
                { ",`dataSource`:{`kind`:`K`,`apiGroup`:`g.io`,`name`:`n`}", "", "" },
                { ",`dataSource`:{`kind`:`PersistentVolumeClaim`,`name`:`n`},`dataSourceRef`:{`kind`:"
                  "`PersistentVolumeClaim`,`name`:`m`,`namespace`:`o`}",
                  "n", "n" },
        };
        struct fixture *f = *state;

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                char body[512];
                struct answer a;

                snprintf(body, sizeof(body),
                         "{`metadata`:{`name`:`x`},`spec`:{`accessModes`:[`ReadWriteOnce`],`resources`:{`requests`:{"
                         "`storage`:`1`}}%s}}",
                         rows[i].part);
                a = ASK(f, API_CREATE, &res_persistentvolumeclaims, "default", .options.dry_run = true,
                        .body = quoted(f->a, body));
                check_code(a, 201);
                assert_string_equal(arena_cstr(f->a, json_str(json_at_path(a.body, "spec", "dataSource", "name"))),
                                    rows[i].old);
                assert_string_equal(arena_cstr(f->a, json_str(json_at_path(a.body, "spec", "dataSourceRef", "name"))),
                                    rows[i].new);
        }
}

#define CLASS "volume.beta.kubernetes.io/storage-class"

/* The class in the annotation stays, and may become the field. */
static void class_of_a_claim_is_told_once(void **state) {
        static const struct {
                const char *patch;
                int code;
        } rows[] = {
                { "{`metadata`:{`annotations`:{`" CLASS "`:`b`}}}", 422 },
                { "{`metadata`:{`annotations`:{`" CLASS "`:null}}}", 422 },
                { "{`spec`:{`storageClassName`:`b`}}", 422 },
                { "{`spec`:{`storageClassName`:`a`}}", 200 },
                { "{`spec`:{`storageClassName`:`b`}}", 422 },
        };
        struct fixture *f = *state;

        check_code(ASK(f, API_CREATE, &res_persistentvolumeclaims, "default",
                       .body = quoted(f->a,
                                      "{`metadata`:{`name`:`x`,`annotations`:{`" CLASS "`:`a`}},`spec`:{"
                                      "`accessModes`:[`ReadWriteOnce`],`resources`:{`requests`:{`storage`:`1`}}}}")),
                   201);
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
                check_code(ASK(f, API_PATCH, &res_persistentvolumeclaims, "default", "x", .patch = API_PATCH_MERGE,
                               .body = quoted(f->a, rows[i].patch)),
                           rows[i].code);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(a_volume_has_one_source, fixture_setup, fixture_teardown),
                cmocka_unit_test_setup_teardown(mounts_find_valid_volumes, fixture_setup, fixture_teardown),
                cmocka_unit_test_setup_teardown(containers_are_refused, fixture_setup, fixture_teardown),
                cmocka_unit_test_setup_teardown(volumes_of_the_cluster_are_refused, fixture_setup, fixture_teardown),
                cmocka_unit_test_setup_teardown(sources_of_claims_agree, fixture_setup, fixture_teardown),
                cmocka_unit_test_setup_teardown(class_of_a_claim_is_told_once, fixture_setup, fixture_teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
