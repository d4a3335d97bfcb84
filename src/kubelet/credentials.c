/* imagePullSecrets: https://kubernetes.io/docs/concepts/containers/images/#config-json
 *
 * An entry's key is a registry with an optional scheme, port and path: "https://index.docker.io/v1/", "*.example.com",
 * "registry:5000/team". It fits an image whose registry matches part by part (* stands for one or more characters of a
 * label) and whose path begins with the entry's. */
#include "kubelet/credentials.h"

#include <fnmatch.h>

#include "base/encode.h"
#include "schema/types.h"

#define MAX_DEPTH 32

static struct str without_scheme(struct str s) {
        ssize_t at = str_search(s, STR("://"));

        return at < 0 ? s : str_sub(s, (size_t) at + 3, s.n);
}

static void cut(struct str s, struct str *ret_host, struct str *ret_path) {
        ssize_t slash = str_find(s, '/');

        *ret_host = slash < 0 ? s : str_sub(s, 0, (size_t) slash);
        *ret_path = slash < 0 ? STR("") : str_sub(s, (size_t) slash, s.n);
}

static bool host_fits(struct arena *a, struct str pattern, struct str host) {
        struct str p, h;

        if (str_eqc(pattern, "index.docker.io"))
                pattern = STR("docker.io");
        for (;;) {
                bool more_p = str_split(&pattern, '.', &p), more_h = str_split(&host, '.', &h);

                if (!more_p || !more_h)
                        return more_p == more_h;
                if (fnmatch(arena_cstr(a, p), arena_cstr(a, h), 0) != 0)
                        return false;
        }
}

static bool fits(struct arena *a, struct str key, struct str ref) {
        struct str key_host, key_path, host, path;

        cut(without_scheme(key), &key_host, &key_path);
        cut(ref, &host, &path);
        if (str_eqc(key_path, "/v1/") || str_eqc(key_path, "/v2/") || str_eqc(key_path, "/"))
                key_path = STR("");
        return host_fits(a, key_host, host) && str_has_prefix(path, key_path);
}

static struct registry_auth read_entry(struct arena *a, const struct json *entry) {
        struct registry_auth auth = {
                .username = jstr(entry, "username"),
                .password = jstr(entry, "password"),
                .identity_token = jstr(entry, "identitytoken"),
                .registry_token = jstr(entry, "registrytoken"),
        };
        _cleanup_buf_ struct buf plain = BUF_INIT;
        struct str both = jstr(entry, "auth");

        if (both.n && base64_decode(&plain, both) == 0) {
                both = arena_str(a, buf_str(&plain));
                ssize_t colon = str_find(both, ':');
                if (colon > 0) {
                        auth.username = str_sub(both, 0, (size_t) colon);
                        auth.password = str_sub(both, (size_t) colon + 1, both.n);
                }
        }
        return auth;
}

void credentials_of_config(struct arena *a, const struct json *config, struct str ref, struct registry_auth **ret,
                           size_t *ret_n) {
        const struct json *auths = json_getc(config, "auths") ? json_getc(config, "auths") : config;
        struct found {
                struct str key;
                struct registry_auth auth;
        } *found = arena_array(a, struct found, json_len(auths) + 1);
        size_t n = 0;

        json_each_member(m, auths) {
                size_t at;

                if (!fits(a, json_key(m), ref))
                        continue;
                for (at = n++; at > 0 && found[at - 1].key.n < json_key(m).n; at--) /* the longest key first */
                        found[at] = found[at - 1];
                found[at] = (struct found) { json_key(m), read_entry(a, &m->value) };
        }
        *ret = arena_array(a, struct registry_auth, n + 1);
        *ret_n = n;
        for (size_t i = 0; i < n; i++)
                (*ret)[i] = found[i].auth;
}

static void use_secret(struct arena *a, const struct object *secret, struct str ref, struct registry_auth **ret,
                       size_t *ret_n) {
        static const char *const keys[] = { ".dockerconfigjson", ".dockercfg" };
        const struct json *data = json_getc(object_json(secret), "data");
        struct json_parse_opts opts = { .max_depth = MAX_DEPTH };

        for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
                struct buf plain = BUF_INIT;
                struct registry_auth *more = NULL, *all;
                struct json *config = NULL;
                size_t n = 0;

                if (json_getc(data, keys[i]) && base64_decode(&plain, jstr(data, keys[i])) == 0 &&
                    json_parse(a, arena_str(a, buf_str(&plain)), &opts, &config, NULL) == 0)
                        credentials_of_config(a, config, ref, &more, &n);
                buf_free(&plain);
                if (n == 0)
                        continue;
                all = arena_array(a, struct registry_auth, *ret_n + n);
                if (*ret_n)
                        memcpy(all, *ret, *ret_n * sizeof(*all));
                memcpy(all + *ret_n, more, n * sizeof(*all));
                *ret = all;
                *ret_n += n;
        }
}

void credentials_of_pod(struct kubelet *k, struct arena *a, const struct object *pod, struct str ref,
                        struct registry_auth **ret, size_t *ret_n) {
        _cleanup_buf_ struct buf missing = BUF_INIT;

        json_each_item(it, json_at_path(object_json(pod), "spec", "imagePullSecrets")) {
                _cleanup_(object_unrefp) struct object *secret = NULL;

                if (client_get(k->client, &res_secrets, object_namespace(pod), jstr(it, "name"), &secret, NULL) >= 0) {
                        use_secret(a, secret, ref, ret, ret_n);
                        continue;
                }
                buf_printf(&missing, "%s%" STR_FMT, missing.n ? ", " : "", STR_ARG(jstr(it, "name")));
        }
        if (missing.n)
                event_record(k->events, &res_pods, pod, NULL, "Warning", "FailedToRetrieveImagePullSecret",
                             "Unable to retrieve some image pull secrets (%" STR_FMT
                             "); attempting to pull the image may not succeed.",
                             STR_ARG(buf_str(&missing)));
}
