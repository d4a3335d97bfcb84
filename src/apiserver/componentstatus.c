/* ComponentStatuses: deprecated, answered from what the server sees and never stored. A scheduler and a controller
 * manager are healthy while they watch, wherever they run; the store answers, or nobody would read this. */

#include "apiserver/server.h"
#include "json/build.h"
#include "schema/types.h"

static const struct {
        const char *name, *user; /* user: whose watches show that it lives; NULL: it does */
} components[] = {
        { "controller-manager", "system:kube-controller-manager" },
        { "etcd-0", NULL },
        { "scheduler", "system:kube-scheduler" },
};
_Static_assert(ARRAY_SIZE(components) == N_COMPONENTS, "server.h counts their watches");

size_t component_of(const struct api_user *user) {
        size_t i;

        for (i = 0; i < N_COMPONENTS; i++)
                if (components[i].user && str_eqc(user->name, components[i].user))
                        break;
        return i;
}

static struct object *status_of(struct op *op, size_t i) {
        bool well = !components[i].user || atomic_load(&op->s->component_watches[i]) > 0;
        struct json tree = json_build(op->c->arena,
                                      "{ kind: 'ComponentStatus', apiVersion: 'v1',"
                                      "  metadata: { name: %c, creationTimestamp: null }, conditions: [ { type: "
                                      "'Healthy', status: %c, message: %c, error: %c } ] }",
                                      components[i].name, well ? "True" : "False", well ? "ok" : NULL,
                                      well ? NULL : "nothing of it watches the API server");

        return object_from_tree(&tree);
}

static void get_status(struct op *op) {
        for (size_t i = 0; i < N_COMPONENTS; i++)
                if (str_eqc(op->name, components[i].name)) {
                        op->result = status_of(op, i);
                        return op_finish(op, 200);
                }
        error_status(&op->c->error, REASON_NOT_FOUND, "componentstatus \"%" STR_FMT "\" not found", STR_ARG(op->name));
        error_details(&op->c->error, op->name, STR(""), STR("componentstatus"));
        op_fail(op);
}

static void list_statuses(struct op *op) {
        struct api_list *l = xcalloc(1, sizeof(*l));

        l->items = xcalloc(N_COMPONENTS, sizeof(*l->items));
        l->remaining = -1;
        for (size_t i = 0; i < N_COMPONENTS; i++)
                l->items[l->n++] = status_of(op, i);
        op->c->list = l;
        if (list_filter(op, l, &op->c->error) < 0)
                op_fail(op);
        else
                op_finish(op, 200);
}

subresource_fn component_status_handler(const struct op *op) {
        if (op->rest->resource != &res_componentstatuses)
                return NULL;
        return op->c->verb == API_GET ? get_status : op->c->verb == API_LIST ? list_statuses : NULL;
}
