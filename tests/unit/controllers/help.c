#include "help.h"

#include <stdio.h>

#include "base/time.h"

void cluster_start(struct cluster *k, const struct controllers_options *o,
                   const struct controller_class *const classes[]) {
        struct controllers_options options = o ? *o : (struct controllers_options) { 0 };

        fake_clock_init(&k->clock);
        k->api = fake_api_new(&k->clock.clock);
        k->client = fake_api_client(k->api);
        assert_int_equal(loop_new("test", &k->loop, NULL), 0);
        options.client = k->client;
        options.clock = &k->clock.clock;
        assert_int_equal(controllers_new(&options, k->loop, classes, &k->controllers, NULL), 0);
        fake_settle(k->api, k->loop);
}

void cluster_stop(struct cluster *k) {
        controllers_free(k->controllers);
        loop_free(k->loop);
        client_free(k->client);
        fake_api_free(k->api);
}

void cluster_settle(struct cluster *k) {
        fake_settle(k->api, k->loop);
}

void cluster_advance(struct cluster *k, int64_t seconds) {
        int64_t end = k->clock.ns + seconds * NSEC_PER_SEC;

        for (;;) {
                int64_t next = controllers_tick(k->controllers);

                cluster_settle(k);
                next = controllers_tick(k->controllers);
                if (next < 0 || k->clock.ns + next > end)
                        break;
                k->clock.ns += MAX(next, NSEC_PER_MSEC);
        }
        k->clock.ns = end;
        controllers_tick(k->controllers);
        cluster_settle(k);
}

const struct json *at(const struct object *o, const char *path) {
        const struct json *j = o ? object_json(o) : NULL;
        struct str rest = str_of(path), part;
        int64_t i;

        while (str_split(&rest, '.', &part))
                j = json_is(j, JSON_ARRAY) && str_to_i64(part, &i) == 0 ? json_item(j, (size_t) i) : json_get(j, part);
        return j;
}

int64_t int_at(const struct object *o, const char *path) {
        return json_int(at(o, path));
}

static const char *keep(struct str s) {
        static char texts[8][1024];
        static unsigned turn;
        char *t = texts[turn++ % 8];

        snprintf(t, sizeof(texts[0]), "%" STR_FMT, STR_ARG(s));
        return t;
}

const char *text_at(const struct object *o, const char *path) {
        return keep(json_str(at(o, path)));
}

const char *condition_text(const struct object *o, const char *type, const char *field) {
        json_each_item(c, at(o, "status.conditions"))
                if (str_eqc(json_str(json_getc(c, "type")), type))
                        return keep(json_str(json_getc(c, field)));
        return "";
}

void make_ready(struct cluster *k, const char *ns, const char *name, const char *node) {
        char time[36];
        struct str now = time_format(time, k->clock.ns);

        fake_api_patch(k->api, &res_pods, ns, name, "", "{'spec':{'nodeName':'%s'}}", node);
        fake_api_patch(k->api, &res_pods, ns, name, "status",
                       "{'status':{'phase':'Running','podIP':'10.0.0.%u','podIPs':[{'ip':'10.0.0.%u'}],'conditions':[{'"
                       "type':'Ready',"
                       "'status':'True','lastTransitionTime':'%.*s'}]}}",
                       (unsigned) (str_hash_stable(str_of(name)) % 250 + 1),
                       (unsigned) (str_hash_stable(str_of(name)) % 250 + 1), STR_ARG(now));
}

void make_pods_ready(struct cluster *k, const char *ns, const char *node) {
        struct object *pods[512];
        size_t n = fake_api_list(k->api, &res_pods, ns, pods, ARRAY_SIZE(pods));

        for (size_t i = 0; i < n; i++)
                if (!*text_at(pods[i], "spec.nodeName")) {
                        _cleanup_free_ char *name = str_dup(object_name(pods[i]));

                        make_ready(k, ns, name, node);
                }
        cluster_settle(k);
}

size_t count(struct cluster *k, const struct api_resource *res, const char *ns) {
        return fake_api_list(k->api, res, ns, NULL, 0);
}

struct object *only(struct cluster *k, const struct api_resource *res, const char *ns) {
        struct object *o = NULL;

        assert_int_equal(fake_api_list(k->api, res, ns, &o, 1), 1);
        return o;
}

size_t events(struct cluster *k, const char *name, const char *reason) {
        struct object *all[512];
        size_t n = fake_api_list(k->api, &res_events, "", all, ARRAY_SIZE(all)), found = 0;

        for (size_t i = 0; i < n; i++)
                if (!strcmp(text_at(all[i], "involvedObject.name"), name) && !strcmp(text_at(all[i], "reason"), reason))
                        found += (size_t) int_at(all[i], "count");
        return found;
}
