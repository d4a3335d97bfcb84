/* What clients see over plain HTTP before they ask for an object: discovery, health, what HTTP itself refuses. */
#include "help.h"

#include "apiserver/flow/flow.h"
#include "apiserver/track.h"

static int setup(void **state) {
        struct fixture *f;

        fixture_setup(state);
        f = *state;
        fixture_listen(f);
        flow_start(f->s);
        ASK(f, API_CREATE, &res_clusterrolebindings,
            .body = "{\"metadata\":{\"name\":\"all\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":"
                    "\"ClusterRole\",\"name\":\"cluster-admin\"},\"subjects\":[{\"kind\":\"User\",\"apiGroup\":"
                    "\"rbac.authorization.k8s.io\",\"name\":\"system:anonymous\"}]}");
        return 0;
}

static int teardown(void **state) {
        struct fixture *f = *state;

        flow_stop(f->s);
        tracks_stop(f->s->tracks);
        http_server_stop(f->s->http, 0);
        f->s->http = NULL;
        return fixture_teardown(state);
}

/* What an answer has to have, each part by '\x1f'; "!" before what it must not have. */
struct exchange_case {
        const char *line, *headers, *parts;
};
#define AND "\x1f"

static void run(struct fixture *f, const struct exchange_case *c) {
        struct str rest = str_of(c->parts), part, r;

        r = talk_until(f, arena_printf(f->a, "%s\r\n%sConnection: close\r\n\r\n", c->line, c->headers).p, NULL);
        while (str_split(&rest, '\x1f', &part)) {
                bool not = part.p[0] == '!';

                if ((str_search(r, str_sub(part, not, part.n)) >= 0) == not )
                        fail_msg("%s: %.*s in\n%.*s", c->line, (int) part.n, part.p, (int) MIN(r.n, 2000), r.p);
        }
}

#define HOST "Host: x\r\n"
#define AGGREGATED(type, version) \
        HOST "Accept: application/" type ";g=apidiscovery.k8s.io;v=" version ";as=APIGroupDiscoveryList\r\n"

static void discovery_says_no_more_than_it_has_to(void **state) {
        static const struct exchange_case cases[] = {
                { "GET /apis/apps/v1 HTTP/1.1", HOST,
                  "!\r\netag: " AND
                  "{\"name\":\"deployments/status\",\"singularName\":\"\",\"namespaced\":true,\"kind\":" AND
                  "\"group\":\"autoscaling\",\"version\":\"v1\",\"kind\":\"Scale\"" },
                { "GET /apis HTTP/1.1", AGGREGATED("json", "v2"),
                  "\r\netag: " AND "{\"group\":\"\",\"version\":\"\",\"kind\":\"Deployment\"}" },
                { "GET /apis HTTP/1.1", AGGREGATED("vnd.kubernetes.protobuf", "v2"),
                  "\r\ncontent-type: application/vnd.kubernetes.protobuf;g=apidiscovery.k8s.io;v=v2;as=API" AND
                  "\r\n\r\nk8s" },
                { "GET /apis HTTP/1.1", AGGREGATED("json", "v2beta1"), " 406 " },
                { "GET /apis/networking.k8s.io/v1 HTTP/1.1", HOST, "\"storageVersionHash\":\"O4H8VxQhW5Y=\"" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
                run(*state, &cases[i]);
}

#define GROUP "z.example"

/* Other servers' groups stand where the highest priority of their versions says, and versions as Kubernetes counts. */
static void groups_come_by_priority(void **state) {
        static const struct {
                const char *version;
                int priority;
        } services[] = { { "v1alpha1", 1 }, { "v1", 20000 }, { "v2", 17300 } };
        static const char *const order[] = { "\"name\":\"apiregistration.k8s.io\"", "\"" GROUP "/v2\"",
                                             "\"" GROUP "/v1\"", "\"" GROUP "/v1alpha1\"", "\"name\":\"apps\"" };
        struct fixture *f = *state;
        struct str r;

        for (size_t i = 0; i < ARRAY_SIZE(services); i++)
                check_code(ASK(f, API_CREATE, &res_apiservices,
                               .body = arena_printf(f->a,
                                                    "{\"metadata\":{\"name\":\"%s." GROUP
                                                    "\"},\"spec\":{\"group\":\"" GROUP
                                                    "\",\"version\":\"%s\",\"groupPriorityMinimum\":%d,"
                                                    "\"versionPriority\":15,\"service\":{\"namespace\":\"default\","
                                                    "\"name\":\"x\"}}}",
                                                    services[i].version, services[i].version, services[i].priority)
                                                       .p),
                           201);
        for (int i = 0; i < 500; i++) {
                r = talk_until(f, "GET /apis HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", NULL);
                if (str_search(r, str_of(order[1])) >= 0 && str_search(r, str_of(order[3])) >= 0)
                        break;
                usleep(10000);
        }
        for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
                ssize_t at = str_search(r, str_of(order[i]));

                if (at < 0)
                        fail_msg("%s is not where it has to be", order[i]);
                r = str_sub(r, (size_t) at, r.n);
        }
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                T(discovery_says_no_more_than_it_has_to),
                T(groups_come_by_priority),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
