/* The environment of a container, in upstream's order of precedence (the later wins):
 *
 *   Services ◀ envFrom ◀ env (values expanded with what is known so far)
 *
 * Services are seen through an immutable snapshot that the loop makes anew when one changes: steps on threads hold a
 * reference. */
#include "kubelet/volumes.h"

#include <ctype.h>

#include "base/encode.h"
#include "schema/quantity.h"
#include "schema/types.h"

/* ---- services ---- */

struct services {
        unsigned refs;
        struct object **v;
        size_t n;
};

struct services *services_ref(struct services *s) {
        if (s)
                __atomic_add_fetch(&s->refs, 1, __ATOMIC_RELAXED);
        return s;
}

void services_unref(struct services *s) {
        if (!s || __atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL) > 0)
                return;
        for (size_t i = 0; i < s->n; i++)
                object_unref(s->v[i]);
        free(s->v);
        free(s);
}

void services_update(struct kubelet *k) {
        struct services *s = xcalloc(1, sizeof(*s));

        if (!informer_synced(k->service_informer))
                return free(s);
        s->refs = 1;
        s->v = xcalloc(informer_count(k->service_informer) + 1, sizeof(struct object *));
        map_each(it, informer_objects(k->service_informer))
                s->v[s->n++] = object_ref(it.value);
        services_unref(k->services);
        k->services = s;
}

/* ---- the list being made ---- */

struct env {
        struct arena *a;
        VEC(struct env_var { struct str kv[2]; }) vars;
};

static void env_put(struct env *e, struct str name, struct str value) {
        for (size_t i = 0; i < e->vars.n; i++)
                if (str_eq(e->vars.v[i].kv[0], name)) {
                        e->vars.v[i].kv[1] = value;
                        return;
                }
        vec_push(&e->vars, (struct env_var) { { name, value } });
}

static struct str lookup(struct str name, const struct str (*env)[2], size_t n) {
        for (size_t i = 0; i < n; i++)
                if (str_eq(env[i][0], name))
                        return env[i][1];
        return (struct str) { 0 };
}

/* $(NAME) becomes its value, or stays where there is none; $$ is one $. */
struct str env_expand(struct arena *a, struct str text, const struct str (*env)[2], size_t n) {
        _cleanup_buf_ struct buf out = BUF_INIT;

        if (str_find(text, '$') < 0)
                return text;
        for (size_t i = 0; i < text.n; i++) {
                struct str rest = str_sub(text, i, text.n);
                ssize_t end;

                if (text.p[i] != '$' || i + 1 >= text.n) {
                        buf_putc(&out, text.p[i]);
                } else if (text.p[i + 1] == '$') {
                        buf_putc(&out, '$');
                        i++;
                } else if (text.p[i + 1] == '(' && (end = str_find(rest, ')')) > 0) {
                        struct str value = lookup(str_sub(rest, 2, (size_t) end), env, n);

                        buf_add_str(&out, value.p ? value : str_sub(rest, 0, (size_t) end + 1));
                        i += (size_t) end;
                } else {
                        buf_putc(&out, '$');
                        if (text.p[i + 1] != '(') {
                                buf_putc(&out, text.p[i + 1]);
                                i++;
                        }
                }
        }
        return arena_str(a, buf_str(&out));
}

static struct str env_name(struct arena *a, struct str s) {
        char *p = arena_cstr(a, s);

        for (char *c = p; *c; c++)
                *c = *c == '-' || *c == '.' ? '_' : (char) toupper((unsigned char) *c);
        return str_n(p, s.n);
}

/* REDIS_SERVICE_HOST and its kin:
 * https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables */
static void put_service(struct env *e, const struct object *o) {
        const struct json *spec = json_getc(object_json(o), "spec");
        struct str ip = jstr(spec, "clusterIP"), name = env_name(e->a, object_name(o));
        bool first = true;

        if (str_empty(ip) || str_eqc(ip, "None") || json_len(json_getc(spec, "ports")) == 0)
                return;
        env_put(e, arena_printf(e->a, "%" STR_FMT "_SERVICE_HOST", STR_ARG(name)), ip);
        json_each_item(port, json_getc(spec, "ports")) {
                long long number = (long long) json_int(json_getc(port, "port"));
                struct str text = arena_printf(e->a, "%lld", number), port_name = jstr(port, "name");
                struct str proto = env_name(e->a, json_str_or(json_getc(port, "protocol"), STR("TCP")));
                char *lower = arena_cstr(e->a, proto);

                for (char *c = lower; *c; c++)
                        *c = (char) tolower((unsigned char) *c);
                struct str url = arena_printf(
                                e->a, str_find(ip, ':') >= 0 ? "%s://[%" STR_FMT "]:%lld" : "%s://%" STR_FMT ":%lld",
                                lower, STR_ARG(ip), number);
                struct str prefix = arena_printf(e->a, "%" STR_FMT "_PORT_%lld_%" STR_FMT, STR_ARG(name), number,
                                                 STR_ARG(proto));
                if (first) {
                        env_put(e, arena_printf(e->a, "%" STR_FMT "_SERVICE_PORT", STR_ARG(name)), text);
                        env_put(e, arena_printf(e->a, "%" STR_FMT "_PORT", STR_ARG(name)), url);
                }
                if (!str_empty(port_name))
                        env_put(e,
                                arena_printf(e->a, "%" STR_FMT "_SERVICE_PORT_%" STR_FMT, STR_ARG(name),
                                             STR_ARG(env_name(e->a, port_name))),
                                text);
                env_put(e, prefix, url);
                env_put(e, arena_printf(e->a, "%" STR_FMT "_PROTO", STR_ARG(prefix)), str_of(lower));
                env_put(e, arena_printf(e->a, "%" STR_FMT "_PORT", STR_ARG(prefix)), text);
                env_put(e, arena_printf(e->a, "%" STR_FMT "_ADDR", STR_ARG(prefix)), ip);
                first = false;
        }
}

static void put_services(struct env *e, struct pod *p) {
        bool links = json_bool_or(json_getc(p->spec, "enableServiceLinks"), true);

        for (size_t i = 0; p->services && i < p->services->n; i++) {
                const struct object *o = p->services->v[i];
                bool master = str_eqc(object_namespace(o), "default") && str_eqc(object_name(o), "kubernetes");

                if (master || (links && str_eqc(object_namespace(o), p->ns)))
                        put_service(e, o);
        }
}

/* ---- sources ---- */

static int get_source(struct pod *p, const struct api_resource *res, const struct json *ref, struct object **ret,
                      struct error *err) {
        return source_get(p, res, jstr(ref, "name"), json_bool(json_getc(ref, "optional")), ret, err);
}

static struct str plain(struct arena *a, bool secret, const struct json *value) {
        return secret ? base64_text(a, json_str(value)) : arena_str(a, json_str(value));
}

static bool valid_env_name(struct str s) {
        for (size_t i = 0; i < s.n; i++)
                if ((unsigned char) s.p[i] < ' ' || (unsigned char) s.p[i] > '~' || s.p[i] == '=')
                        return false;
        return s.n > 0;
}

static int put_all_of(struct env *e, struct pod *p, const struct json *from, bool secret, struct error *err) {
        const struct json *ref = json_getc(from, secret ? "secretRef" : "configMapRef");
        struct str prefix = jstr(from, "prefix");
        _cleanup_(object_unrefp) struct object *o = NULL;
        int r = get_source(p, secret ? &res_secrets : &res_configmaps, ref, &o, err);

        if (r < 0 || !o)
                return r;
        json_each_member(m, json_getc(object_json(o), "data")) {
                struct str name = arena_printf(e->a, "%" STR_FMT "%" STR_FMT, STR_ARG(prefix), STR_ARG(json_key(m)));

                if (valid_env_name(name))
                        env_put(e, name, plain(e->a, secret, &m->value));
        }
        return 0;
}

static int key_ref(struct env *e, struct pod *p, const struct json *ref, bool secret, struct str *ret, bool *ret_absent,
                   struct error *err) {
        _cleanup_(object_unrefp) struct object *o = NULL;
        const struct json *value;
        struct str key = jstr(ref, "key");

        TRY(get_source(p, secret ? &res_secrets : &res_configmaps, ref, &o, err));
        value = o ? json_get(json_getc(object_json(o), "data"), key) : NULL;
        if (value) {
                *ret = plain(e->a, secret, value);
                return 0;
        }
        *ret_absent = true;
        if (!o || json_bool(json_getc(ref, "optional")))
                return 0;
        return error_set(err, -ENOENT, "couldn't find key %" STR_FMT " in %s %s/%" STR_FMT, STR_ARG(key),
                         secret ? "Secret" : "ConfigMap", p->ns, STR_ARG(jstr(ref, "name")));
}

static int put_one(struct env *e, struct pod *p, struct container *c, const struct json *var, struct error *err) {
        const struct json *from = json_getc(var, "valueFrom");
        struct str name = jstr(var, "name"), value = STR("");
        const struct json *ref;
        bool absent = false;
        int r = 0;

        if (!from)
                value = env_expand(e->a, jstr(var, "value"), (const struct str(*)[2]) e->vars.v, e->vars.n);
        else if ((ref = json_getc(from, "fieldRef")))
                r = field_ref(p, jstr(ref, "fieldPath"), &value, err);
        else if ((ref = json_getc(from, "resourceFieldRef")))
                r = resource_ref(p, ref, c, &value, err);
        else if ((ref = json_getc(from, "configMapKeyRef")))
                r = key_ref(e, p, ref, false, &value, &absent, err);
        else if ((ref = json_getc(from, "secretKeyRef")))
                r = key_ref(e, p, ref, true, &value, &absent, err);
        if (r >= 0 && !absent)
                env_put(e, name, value);
        return r;
}

int env_make(struct pod *p, struct container *c, const struct str (**ret_env)[2], size_t *ret_n, struct error *err) {
        struct env e = { .a = p->arena };
        int r = 0;

        put_services(&e, p);
        json_each_item(from, json_getc(c->spec, "envFrom")) {
                if (r >= 0 && json_getc(from, "configMapRef"))
                        r = put_all_of(&e, p, from, false, err);
                if (r >= 0 && json_getc(from, "secretRef"))
                        r = put_all_of(&e, p, from, true, err);
        }
        json_each_item(var, json_getc(c->spec, "env"))
                if (r >= 0)
                        r = put_one(&e, p, c, var, err);
        if (r >= 0) {
                *ret_env = arena_dup(p->arena, e.vars.v, e.vars.n * sizeof(*e.vars.v));
                *ret_n = e.vars.n;
        }
        vec_free(&e.vars);
        return r;
}

/* ---- the downward API ---- */

static int compare_members(const void *a, const void *b) {
        return str_cmp(json_key(*(struct json_member *const *) a), json_key(*(struct json_member *const *) b));
}

/* key="value" lines, sorted, values quoted as Go's %q does. */
static struct str format_map(struct arena *a, const struct json *map) {
        VEC(struct json_member *) sorted = { 0 };
        _cleanup_buf_ struct buf out = BUF_INIT;

        json_each_member(m, map)
                vec_push(&sorted, m);
        if (sorted.n)
                qsort(sorted.v, sorted.n, sizeof(*sorted.v), compare_members);
        for (size_t i = 0; i < sorted.n; i++) {
                struct str v = json_str(&sorted.v[i]->value);

                if (i)
                        buf_putc(&out, '\n');
                buf_add_str(&out, json_key(sorted.v[i]));
                buf_addc(&out, "=\"");
                for (size_t j = 0; j < v.n; j++) {
                        static const char from[] = "\"\\\n\t\r", to[] = "\"\\ntr";
                        const char *hit = v.p[j] ? strchr(from, v.p[j]) : NULL;

                        if (hit)
                                buf_printf(&out, "\\%c", to[hit - from]);
                        else if ((unsigned char) v.p[j] < ' ' || v.p[j] == 0x7f)
                                buf_printf(&out, "\\x%02x", (unsigned char) v.p[j]);
                        else
                                buf_putc(&out, v.p[j]);
                }
                buf_putc(&out, '"');
        }
        vec_free(&sorted);
        return arena_str(a, buf_str(&out));
}

static struct str host_ip(struct pod *p, size_t i) {
        _cleanup_(object_unrefp) struct object *node = node_object(p->k);
        size_t n = 0;

        json_each_item(address, json_at_path(node ? object_json(node) : NULL, "status", "addresses"))
                if (str_eqc(jstr(address, "type"), "InternalIP") && n++ == i)
                        return arena_str(p->arena, jstr(address, "address"));
        return str_of(p->k->o.node_ips[i] ? p->k->o.node_ips[i] : "");
}

/* A pod in the node's network has the node's addresses. */
static struct str pod_ip(struct pod *p, size_t i) {
        return json_bool(json_getc(p->spec, "hostNetwork")) ? host_ip(p, i) : arena_str(p->arena, str_of(p->ips[i]));
}

static struct str join_ips(struct arena *a, struct str x, struct str y) {
        return y.n ? arena_printf(a, "%" STR_FMT ",%" STR_FMT, STR_ARG(x), STR_ARG(y)) : x;
}

int field_ref(struct pod *p, struct str path, struct str *ret, struct error *err) {
        const struct json *meta = json_getc(object_json(p->current), "metadata");
        static const char *const maps[] = { "labels", "annotations" };

        for (size_t i = 0; i < ARRAY_SIZE(maps); i++) {
                const struct json *map = json_getc(meta, maps[i]);
                struct str whole = arena_printf(p->arena, "metadata.%s", maps[i]);
                struct str open = arena_printf(p->arena, "metadata.%s['", maps[i]);

                if (str_eq(path, whole)) {
                        *ret = format_map(p->arena, map);
                        return 0;
                }
                if (str_has_prefix(path, open) && str_has_suffix(path, STR("']"))) {
                        *ret = json_str(json_get(map, str_sub(path, open.n, path.n - 2)));
                        return 0;
                }
        }
        const struct {
                const char *path;
                struct str value;
        } table[] = {
                { "metadata.name", str_of(p->name) },
                { "metadata.namespace", str_of(p->ns) },
                { "metadata.uid", str_of(p->uid) },
                { "spec.nodeName", jstr(p->spec, "nodeName") },
                { "spec.serviceAccountName", jstr(p->spec, "serviceAccountName") },
                { "status.hostIP", host_ip(p, 0) },
                { "status.hostIPs", join_ips(p->arena, host_ip(p, 0), host_ip(p, 1)) },
                { "status.podIP", pod_ip(p, 0) },
                { "status.podIPs", join_ips(p->arena, pod_ip(p, 0), pod_ip(p, 1)) },
        };

        for (size_t i = 0; i < ARRAY_SIZE(table); i++)
                if (str_eqc(path, table[i].path)) {
                        *ret = table[i].value;
                        return 0;
                }
        return error_set(err, -EINVAL, "unsupported fieldPath: %" STR_FMT, STR_ARG(path));
}

int resource_ref(struct pod *p, const struct json *ref, const struct container *in, struct str *ret,
                 struct error *err) {
        struct str resource = jstr(ref, "resource"), name = jstr(ref, "containerName"), kind, what;
        const struct json *spec = in ? in->spec : NULL, *value;
        _cleanup_(object_unrefp) struct object *node = NULL;
        struct quantity q, divisor = quantity_of_json(json_getc(ref, "divisor"));
        __int128 n;

        if (!str_empty(name)) {
                const struct container *named = pod_container(p, name);

                spec = named ? named->spec : NULL;
        }
        if (!spec)
                return error_set(err, -EINVAL, "container %" STR_FMT " not found", STR_ARG(name));
        what = resource;
        if (!str_split(&what, '.', &kind) || (!str_eqc(kind, "limits") && !str_eqc(kind, "requests")))
                return error_set(err, -EINVAL, "unsupported container resource : %" STR_FMT, STR_ARG(resource));
        value = json_get(json_get(json_getc(spec, "resources"), kind), what);
        if (!value && str_eqc(kind, "limits")) {
                node = node_object(p->k);
                value = json_get(json_at_path(node ? object_json(node) : NULL, "status", "allocatable"), what);
        }
        q = quantity_of_json(value);
        n = divisor.nano > 0 ? (q.nano + divisor.nano - 1) / divisor.nano : (q.nano + 999999999) / 1000000000;
        *ret = arena_printf(p->arena, "%lld", (long long) n);
        return 0;
}
