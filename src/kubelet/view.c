/* Views: what the threads of the :10250 server may see of a pod. A view is an immutable copy, made after each step that
 * changed something; readers take a reference under a short lock and look at their leisure. */
#include "base/lock.h"
#include "kubelet/internal.h"

void view_unref(struct pod_view *v) {
        if (!v || __atomic_sub_fetch(&v->refs, 1, __ATOMIC_ACQ_REL) > 0)
                return;
        for (size_t i = 0; i < v->n_containers; i++) {
                struct container_view *c = &v->containers[i];

                free_all(c->name, c->id, c->previous_id, c->log_path, c->previous_log_path, c->image);
        }
        free_all(v->containers, v->uid, v->ns, v->name, v->sandbox_id, v->log_dir, v->dir, v->status);
        object_unref(v->object);
        free(v);
}

static char *copy(const char *s) {
        return s ? xstrdup(s) : NULL;
}

static void fill_container(struct container_view *v, const struct container *c) {
        v->name = xstrdup(c->name);
        v->kind = c->kind;
        v->id = copy(c->id);
        v->running = c->is_running;
        v->waiting = c->waiting;
        v->image = c->spec ? str_dup(jstr(c->spec, "image")) : NULL;
        v->tty = json_bool(json_getc(c->spec, "tty"));
        v->stdin_open = json_bool(json_getc(c->spec, "stdin"));
        v->stdin_once = json_bool(json_getc(c->spec, "stdinOnce"));
        if (c->status) {
                v->log_path = copy(c->status->log_path);
                v->started_ns = c->status->started_ns;
        }
        if (c->previous) {
                v->previous_id = copy(c->previous->id);
                v->previous_log_path = copy(c->previous->log_path);
        }
}

/* The arena of the last step still holds what the containers point to: this runs right after it. */
void view_publish(struct pod *p) {
        struct pod_view *v = xcalloc(1, sizeof(*v));
        struct pod_view *was = NULL;

        v->refs = 1;
        v->uid = xstrdup(p->uid);
        v->ns = xstrdup(p->ns);
        v->name = xstrdup(p->name);
        v->sandbox_id = copy(p->sandbox_id);
        v->log_dir = xstrdup(p->log_dir);
        v->dir = xstrdup(p->dir);
        v->status = copy(p->sent);
        v->object = p->current ? object_ref(p->current) : NULL;
        v->host_network = json_bool(json_getc(p->spec, "hostNetwork"));
        memcpy(v->ip, p->ips[0], sizeof(v->ip));
        v->containers = xcalloc(p->containers.n + 1, sizeof(*v->containers));
        for (size_t i = 0; i < p->containers.n; i++)
                fill_container(&v->containers[v->n_containers++], p->containers.v[i]);

        with_lock(&p->k->lock) {
                was = map_take(p->k->views, str_of(p->uid));
                map_put(p->k->views, str_of(p->uid), v);
        }
        view_unref(was);
}

void view_remove(struct pod *p) {
        struct pod_view *was = NULL;

        with_lock(&p->k->lock)
                was = map_take(p->k->views, str_of(p->uid));
        view_unref(was);
}

static struct pod_view *view_ref(struct pod_view *v) {
        __atomic_add_fetch(&v->refs, 1, __ATOMIC_RELAXED);
        return v;
}

struct pod_view *view_get(struct kubelet *k, struct str ns, struct str name) {
        struct pod_view *found = NULL;
        HOLD(&k->lock);
        map_each(it, k->views) {
                struct pod_view *v = it.value;

                /* A new pod may have the name of one that is still ending. */
                if (str_eqc(ns, v->ns) && str_eqc(name, v->name) && v->object &&
                    (!found || !object_deleting(v->object)))
                        found = v;
        }
        if (found)
                view_ref(found);
        return found;
}

struct pod_view **view_all(struct kubelet *k, size_t *ret_n) {
        struct pod_view **all = NULL;
        size_t n = 0;

        with_lock(&k->lock) {
                all = xcalloc(map_size(k->views) + 1, sizeof(struct pod_view *));
                map_each(it, k->views)
                        all[n++] = view_ref(it.value);
        }
        *ret_n = n;
        return all;
}

const struct container_view *view_container(const struct pod_view *v, struct str name) {
        for (size_t i = 0; i < v->n_containers; i++)
                if (str_eqc(name, v->containers[i].name))
                        return &v->containers[i];
        return NULL;
}
