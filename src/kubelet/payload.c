/* The files of configMap, secret, downwardAPI and projected volumes, service account tokens among them.
 * https://kubernetes.io/docs/concepts/storage/projected-volumes/ */
#include "kubelet/volumes.h"

#include "base/encode.h"
#include "base/file.h"
#include "json/build.h"
#include "schema/types.h"

#define DAY_NS (24 * 3600 * NSEC_PER_SEC)

/* Where the files of the volume under way go, and with which mode unless an item says otherwise. */
struct making {
        struct pod *p;
        struct payload *files;
        mode_t default_mode;
};

static struct payload_file *put(struct making *m, struct str path, struct str data, const struct json *mode) {
        struct payload_file f = { path, data, mode ? (mode_t) json_int(mode) : m->default_mode };
        size_t i = 0;

        while (i < m->files->n && !str_eq(m->files->v[i].path, path))
                i++;
        if (i == m->files->n)
                vec_push(m->files, f);
        m->files->v[i] = f;
        return &m->files->v[i];
}

/* ---- configMap and secret ---- */

struct keyed {
        const struct api_resource *resource;
        const char *kind;     /* as messages call it */
        const char *name_key; /* of the source: configMap.name, but secret.secretName outside of projected */
        bool plain;           /* data is text; binaryData and a secret's data are base64 */
};

static bool find_key(const struct object *o, const struct keyed *k, struct arena *a, struct str key, struct str *ret) {
        const struct json *v = json_get(json_getc(object_json(o), "data"), key);

        if (v) {
                *ret = k->plain ? arena_str(a, json_str(v)) : base64_text(a, json_str(v));
                return true;
        }
        v = json_get(json_getc(object_json(o), "binaryData"), key);
        if (v)
                *ret = base64_text(a, json_str(v));
        return v != NULL;
}

static void put_every_key(struct making *m, const struct object *o, const struct keyed *k) {
        static const char *const maps[] = { "data", "binaryData" };

        for (size_t i = 0; i < ARRAY_SIZE(maps); i++)
                json_each_member(member, json_getc(object_json(o), maps[i])) {
                        struct str value = STR(""), key = arena_str(m->p->arena, json_key(member));

                        find_key(o, k, m->p->arena, key, &value);
                        put(m, key, value, NULL);
                }
}

static int put_keyed(struct making *m, const struct json *source, const struct keyed *k, struct error *err) {
        _cleanup_(object_unrefp) struct object *o = NULL;
        struct str name = json_str_or(json_getc(source, k->name_key), jstr(source, "name"));
        bool optional = json_bool(json_getc(source, "optional"));
        const struct json *items = json_getc(source, "items");
        int r = source_get(m->p, k->resource, name, optional, &o, err);

        if (r < 0 || !o)
                return r;
        if (json_len(items) == 0)
                put_every_key(m, o, k);
        json_each_item(item, items) {
                struct str value;

                if (find_key(o, k, m->p->arena, jstr(item, "key"), &value))
                        put(m, jstr(item, "path"), value, json_getc(item, "mode"));
                else if (!optional)
                        return error_set(err, -ENOENT, "references non-existent %s key: %" STR_FMT, k->kind,
                                         STR_ARG(jstr(item, "key")));
        }
        return 0;
}

static int put_config_map(struct making *m, const struct json *source, struct error *err) {
        static const struct keyed k = { &res_configmaps, "config", "name", true };

        return put_keyed(m, source, &k, err);
}

static int put_secret(struct making *m, const struct json *source, struct error *err) {
        static const struct keyed k = { &res_secrets, "secret", "secretName", false };

        return put_keyed(m, source, &k, err);
}

/* ---- downward API ---- */

static int put_downward(struct making *m, const struct json *source, struct error *err) {
        json_each_item(item, json_getc(source, "items")) {
                const struct json *field = json_getc(item, "fieldRef"), *resource = json_getc(item, "resourceFieldRef");
                struct str value = STR("");
                int r = 0;

                if (field)
                        r = field_ref(m->p, jstr(field, "fieldPath"), &value, err);
                else if (resource)
                        r = resource_ref(m->p, resource, NULL, &value, err);
                if (r < 0)
                        return r;
                put(m, jstr(item, "path"), value, json_getc(item, "mode"));
        }
        return 0;
}

/* ---- tokens ---- */

static struct json token_request(struct pod *p, struct arena *a, struct str audience, int64_t seconds) {
        return json_build(a,
                          "{ kind: 'TokenRequest', apiVersion: 'authentication.k8s.io/v1', spec: {"
                          "  audiences: [ %s ], expirationSeconds: %l,"
                          "  boundObjectRef: { kind: 'Pod', apiVersion: 'v1', name: %c, uid: %c } } }",
                          audience.n ? audience : str_n(NULL, 0), seconds, p->name, p->uid);
}

/* A token is asked for again at 80 % of its life, or after a day. */
static int get_token(struct pod *p, struct str audience, int64_t seconds, struct str *ret, int64_t *ret_refresh_ns,
                     struct error *err) {
        struct json body = token_request(p, p->arena, audience, seconds);
        _cleanup_(object_unrefp) struct object *o = NULL;
        struct client_request r = {
                .verb = API_CREATE,
                .resource = &res_serviceaccounts,
                .namespace = str_of(p->ns),
                .name = json_str_or(json_getc(p->spec, "serviceAccountName"), STR("default")),
                .subresource = STR("token"),
                .body = &body,
                .options = API_OPTIONS_INIT,
        };
        int64_t expires = 0, now = kubelet_now(p->k), life;
        int e = client_do(p->k->client, &r, &o, err);

        if (e < 0)
                return error_prefix(err, "failed to fetch token");
        *ret = arena_str(p->arena, jstr(json_getc(object_json(o), "status"), "token"));
        if (time_parse(jstr(json_getc(object_json(o), "status"), "expirationTimestamp"), &expires) < 0)
                expires = now + seconds * NSEC_PER_SEC;
        life = expires - now;
        *ret_refresh_ns = now + MIN(life / 5 * 4, DAY_NS);
        return 0;
}

/* The user whom every container runs as, when the spec says so of each. */
static bool only_user(const struct pod *p, uid_t *ret) {
        const struct json *one = NULL;

        for (size_t i = 0; i < p->containers.n; i++) {
                const struct json *uid = json_at_path(p->containers.v[i]->spec, "securityContext", "runAsUser");

                if (!p->containers.v[i]->listed)
                        continue;
                if (!uid)
                        uid = json_at_path(p->spec, "securityContext", "runAsUser");
                if (!uid || (one && json_int(one) != json_int(uid)))
                        return false;
                one = uid;
        }
        if (one)
                *ret = (uid_t) json_int(one);
        return one != NULL;
}

/* A token is for the eyes of the user or the group that the spec names; else for everybody's. */
static void put_secretly(struct making *m, struct str path, struct str token) {
        struct payload_file *f = put(m, path, token, NULL);

        f->owned = only_user(m->p, &f->owner);
        if (f->owned || json_at_path(m->p->spec, "securityContext", "fsGroup"))
                f->mode = 0600;
}

static bool keep_token(struct making *m, struct str path) {
        _cleanup_free_ char *file =
                        m->files->tokens_in ? xprintf("%s/..data/%" STR_FMT, m->files->tokens_in, STR_ARG(path)) : NULL;
        _cleanup_buf_ struct buf b = BUF_INIT;

        if (!file || file_read(file, 64 * 1024, &b, NULL) < 0 || b.n == 0)
                return false;
        put_secretly(m, path, arena_str(m->p->arena, buf_str(&b)));
        return true;
}

static int put_token(struct making *m, const struct json *source, struct error *err) {
        int64_t seconds = json_int_or(json_getc(source, "expirationSeconds"), 3600), refresh = 0;
        struct str token;

        if (keep_token(m, jstr(source, "path")))
                return 0;
        TRY(get_token(m->p, jstr(source, "audience"), seconds, &token, &refresh, err));
        put_secretly(m, jstr(source, "path"), token);
        if (m->files->refresh_at_ns == 0 || refresh < m->files->refresh_at_ns)
                m->files->refresh_at_ns = refresh;
        return 0;
}

/* ---- all of them ---- */

static int put_projected(struct making *m, const struct json *source, struct error *err);

static const struct source {
        const char *name;
        int (*put)(struct making *m, const struct json *source, struct error *err);
} sources[] = {
        { "configMap", put_config_map },      { "secret", put_secret },       { "downwardAPI", put_downward },
        { "serviceAccountToken", put_token }, { "projected", put_projected },
};

static int put_projected(struct making *m, const struct json *source, struct error *err) {
        json_each_item(entry, json_getc(source, "sources"))
                json_each_member(kind, entry) {
                        int r = -ENOTSUP;

                        for (size_t i = 0; i < ARRAY_SIZE(sources); i++)
                                if (str_eqc(json_key(kind), sources[i].name) && sources[i].put != put_projected)
                                        r = sources[i].put(m, &kind->value, err);
                        if (r == -ENOTSUP)
                                return error_set(err, r, "projected volume source %" STR_FMT " is not supported",
                                                 STR_ARG(json_key(kind)));
                        if (r < 0)
                                return r;
                }
        return 0;
}

int payload_make(struct pod *p, const char *kind, const struct json *source, struct payload *ret, struct error *err) {
        struct making m = { p, ret, (mode_t) json_int_or(json_getc(source, "defaultMode"), 0644) };

        for (size_t i = 0; i < ARRAY_SIZE(sources); i++)
                if (strcmp(kind, sources[i].name) == 0)
                        return sources[i].put(&m, source, err);
        return error_set(err, -ENOTSUP, "volume source %s is not supported", kind);
}
