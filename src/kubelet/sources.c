/* ConfigMaps and Secrets that pods use. Each use asks the API, so it sees the newest; what came last is kept, so that
 * containers start again while the API cannot be reached. */
#include "base/lock.h"
#include "kubelet/volumes.h"

#define MAX_KEPT 4096

static bool is_unreachable(int r) {
        return r == -ENOTCONN || r == -ECONNREFUSED || r == -ECONNRESET || r == -ETIMEDOUT;
}

/* o NULL: forgets it. */
static void keep(struct kubelet *k, struct str key, struct object *o) {
        struct object *was = NULL;

        with_lock(&k->lock) {
                was = map_take(k->sources, key);
                if (o && map_size(k->sources) >= MAX_KEPT)
                        map_clear(k->sources);
                if (o)
                        map_put(k->sources, key, object_ref(o));
        }
        object_unref(was);
}

static struct object *kept(struct kubelet *k, struct str key) {
        HOLD(&k->lock);
        struct object *o = map_get(k->sources, key);

        if (o)
                object_ref(o);
        return o;
}

int source_get(struct pod *p, const struct api_resource *res, struct str name, bool optional, struct object **ret,
               struct error *err) {
        struct str key = arena_printf(p->arena, "%s/%s/%" STR_FMT, res->plural, p->ns, STR_ARG(name));
        int r;

        *ret = NULL;
        r = client_get(p->k->client, res, str_of(p->ns), name, ret, err);
        if (r >= 0 || r == -ENOENT)
                keep(p->k, key, *ret);
        else if (is_unreachable(r) && (*ret = kept(p->k, key))) {
                error_clear(err);
                r = 0;
        }
        if (r != -ENOENT)
                return r;
        error_clear(err);
        if (optional)
                return 0;
        return error_status(err, REASON_NOT_FOUND, "%s \"%" STR_FMT "\" not found", res->singular, STR_ARG(name));
}
