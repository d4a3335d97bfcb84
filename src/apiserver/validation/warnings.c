/* What is accepted but not wise: warnings about pod specs, as upstream's pkg/api/pod words them. */
#include "apiserver/strategy.h"
#include "schema/quantity.h"

#define GET(o, k) json_getc((o), (k))
#define TEXT(o, k) json_str(json_getc((o), (k)))

static void warn(struct op *op, const struct path *p, const char *fmt, ...) _printf_(3, 4);
static void warn(struct op *op, const struct path *p, const char *fmt, ...) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        char text[512];
        va_list ap;

        va_start(ap, fmt);
        vsnprintf(text, sizeof(text), fmt, ap);
        va_end(ap);
        path_print(&b, p);
        buf_addc(&b, ": ");
        buf_addc(&b, text);
        op_warn(op, arena_str(op->c->arena, buf_str(&b)));
}

static void warn_labels(struct op *op, const struct path *p, const struct json *selector) {
        static const char *const renamed[][3] = {
                { "beta.kubernetes.io/arch", "v1.14", "kubernetes.io/arch" },
                { "beta.kubernetes.io/os", "v1.14", "kubernetes.io/os" },
                { "failure-domain.beta.kubernetes.io/region", "v1.17", "topology.kubernetes.io/region" },
                { "failure-domain.beta.kubernetes.io/zone", "v1.17", "topology.kubernetes.io/zone" },
                { "beta.kubernetes.io/instance-type", "v1.17", "node.kubernetes.io/instance-type" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(renamed) && json_len(selector) > 0; i++)
                if (GET(selector, renamed[i][0]))
                        warn(op, PATH_KEY(p, str_of(renamed[i][0])), "deprecated since %s; use \"%s\" instead",
                             renamed[i][1], renamed[i][2]);
}

static void warn_volumes(struct op *op, const struct path *spec_path, const struct json *volumes) {
        static const char *const gone[][2] = {
                { "gitRepo", "deprecated in v1.11" },
                { "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+" },
                { "scaleIO", "deprecated in v1.16, non-functional in v1.22+" },
                { "flocker", "deprecated in v1.22, non-functional in v1.25+" },
                { "storageos", "deprecated in v1.22, non-functional in v1.25+" },
                { "quobyte", "deprecated in v1.22, non-functional in v1.25+" },
                { "glusterfs", "deprecated in v1.25, non-functional in v1.26+" },
                { "cephfs", "deprecated in v1.28, non-functional in v1.31+" },
                { "rbd", "deprecated in v1.28, non-functional in v1.31+" },
        };
        size_t i = 0;

        json_each_item(v, volumes) {
                const struct path *p = PATH_INDEX(PATH(spec_path, "volumes"), i++);

                for (size_t k = 0; k < ARRAY_SIZE(gone); k++)
                        if (GET(v, gone[k][0]))
                                warn(op, PATH(p, gone[k][0]), "%s", gone[k][1]);
        }
}

static void warn_container(struct op *op, const struct path *p, const struct json *c) {
        static const char *const lists[] = { "limits", "requests" };
        static const char *const sizes[] = { "memory", "ephemeral-storage" };
        const struct json *env = GET(c, "env");
        size_t i = 0;

        json_each_item(e, env) {
                for (size_t k = 0; k < i; k++)
                        if (str_eq(TEXT(json_item(env, k), "name"), TEXT(e, "name"))) {
                                warn(op, PATH_INDEX(PATH(p, "env"), i),
                                     "hides previous definition of \"%" STR_FMT
                                     "\", which may be dropped when using apply",
                                     STR_ARG(TEXT(e, "name")));
                                break;
                        }
                i++;
        }
        for (size_t l = 0; l < ARRAY_SIZE(lists); l++)
                for (size_t k = 0; k < ARRAY_SIZE(sizes); k++) {
                        const struct json *v = json_at_path(c, "resources", lists[l], sizes[k]);

                        if (v && quantity_of_json(v).nano % 1000000000 != 0)
                                warn(op, PATH_KEY(PATH(PATH(p, "resources"), lists[l]), str_of(sizes[k])),
                                     "fractional byte value \"%" STR_FMT "\" is invalid, must be an integer",
                                     STR_ARG(json_str(v)));
                }
}

static void warn_spec(struct op *op, const struct path *p, const struct json *spec) {
        static const char *const lists[] = { "initContainers", "containers" };

        warn_labels(op, PATH(p, "nodeSelector"), GET(spec, "nodeSelector"));
        warn_volumes(op, p, GET(spec, "volumes"));
        for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
                size_t i = 0;

                json_each_item(c, GET(spec, lists[l]))
                        warn_container(op, PATH_INDEX(PATH(p, lists[l]), i++), c);
        }
        if (json_int(GET(spec, "terminationGracePeriodSeconds")) < 0)
                warn(op, PATH(p, "terminationGracePeriodSeconds"),
                     "must be >= 0; negative values are invalid and will be treated as 1");
}

void warn_pod(struct op *op, const struct json *obj) {
        warn_spec(op, PATH(NULL, "spec"), GET(obj, "spec"));
}

void warn_template(struct op *op, const struct json *obj) {
        warn_spec(op, PATH(PATH(PATH(NULL, "spec"), "template"), "spec"),
                  json_at_path(obj, "spec", "template", "spec"));
}

void warn_cronjob(struct op *op, const struct json *obj) {
        const struct path *p = PATH(PATH(PATH(NULL, "spec"), "jobTemplate"), "spec");

        warn_spec(op, PATH(PATH(p, "template"), "spec"),
                  json_at_path(obj, "spec", "jobTemplate", "spec", "template", "spec"));
}
