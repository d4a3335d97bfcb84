/* What all controllers share: one loop, one set of informers, a queue each, and the table that lists them.
 *
 *   informer ─▶ enqueue(old, new) ─▶ queue ─▶ reconcile(key) ─▶ API
 *      ▲                                                         │
 *      └────────────── note: what was just written ◀─────────────┘
 *
 * A queue begins to be worked on when all its controller's informers have their first list. */
#include "base/log.h"
#include "base/vec.h"
#include "controllers/controller.h"
#include "controllers/owners.h"
#include "controllers/resources.h"

struct watch_ctx {
        struct controller *controller;
        controller_enqueue enqueue;
};

struct running {
        struct controller c;
        struct watch_ctx watches[12];
};

struct controllers {
        struct controllers_options options;
        char *cluster_cidr;
        struct arena *arena; /* the texts of the options */
        struct loop *loop;
        struct informer_factory *informers;
        VEC(struct running *) controllers;
};

/* ---- enqueueing ---- */

void controller_enqueue_key(struct controller *c, struct str key) {
        workqueue_add(c->queue, key);
}

void controller_enqueue_after(struct controller *c, struct str key, uint64_t ms) {
        workqueue_add_after(c->queue, key, ms);
}

void controller_enqueue_named(struct controller *c, struct str ns, struct str name) {
        struct key_buffer b;

        workqueue_add(c->queue, informer_key(&b, ns, name));
}

void enqueue_self(struct controller *c, struct object *old, struct object *new) {
        const struct object *o = new ? new : old;

        controller_enqueue_named(c, object_namespace(o), object_name(o));
}

static void enqueue_owner_of(struct controller *c, const struct object *o) {
        const struct json *ref = controller_ref_of(o);

        if (ref && ref_is_kind(ref, c->class->watches[0].resource))
                controller_enqueue_named(c, object_namespace(o), json_str(json_getc(ref, "name")));
}

void enqueue_owner(struct controller *c, struct object *old, struct object *new) {
        if (old)
                enqueue_owner_of(c, old);
        if (new)
                enqueue_owner_of(c, new);
}

static void on_change(struct object *old, struct object *new, void *arg) {
        struct watch_ctx *w = arg;

        w->enqueue(w->controller, old, new);
}

/* ---- reading and writing ---- */

struct informer *controller_informer(const struct controller *c, const struct api_resource *res) {
        return informer_of(c->informers, res);
}

struct object *controller_get(const struct controller *c, const struct api_resource *res, struct str ns,
                              struct str name) {
        return informer_get_named(informer_of(c->informers, res), ns, name);
}

int64_t controller_now(const struct controller *c) {
        return c->clock->wall_ns(c->clock);
}

/* What the answer to a write says about the cached object. Subresources other than status answer with something else.
 */
static void note_answer(struct controller *c, const struct client_request *r, struct object *answer) {
        bool whole = str_empty(r->subresource) || str_eqc(r->subresource, "status");
        struct informer *i = informer_find(c->informers, r->resource);
        struct str uid = r->options.precondition_uid;

        if (!i)
                return;
        if (r->verb == API_DELETE && !(answer && object_deleting(answer) && str_eq(object_uid(answer), uid))) {
                struct key_buffer b;

                if (!str_empty(uid))
                        informer_note_gone(i, informer_key(&b, r->namespace, r->name), uid);
        } else if (whole && answer)
                informer_note(i, answer);
}

static int write_one(struct controller *c, const struct client_request *r, struct object **ret, struct error *err) {
        _cleanup_(object_unrefp) struct object *answer = NULL;

        TRY(client_do(c->client, r, &answer, err));
        note_answer(c, r, answer);
        if (ret)
                *ret = TAKE_PTR(answer);
        return 0;
}

int controller_create(struct controller *c, const struct api_resource *res, struct str ns, const struct json *body,
                      struct object **ret, struct error *err) {
        struct client_request r = { .verb = API_CREATE, .resource = res, .namespace = ns, .body = body };

        return write_one(c, &r, ret, err);
}

int controller_update(struct controller *c, const struct api_resource *res, struct str subresource,
                      const struct json *body, struct error *err) {
        struct client_request r = client_update_request(res, subresource, body);

        return write_one(c, &r, NULL, err);
}

int controller_patch(struct controller *c, const struct api_resource *res, const struct object *o,
                     struct str subresource, enum api_patch type, const struct json *patch, struct error *err) {
        struct client_request r = { .verb = API_PATCH,
                                    .resource = res,
                                    .namespace = object_namespace(o),
                                    .name = object_name(o),
                                    .subresource = subresource,
                                    .body = patch,
                                    .patch = type };

        return write_one(c, &r, NULL, err);
}

struct client_request controller_delete_request(const struct api_resource *res, const struct object *o,
                                                const char *propagation) {
        struct client_request r = { .verb = API_DELETE,
                                    .resource = res,
                                    .namespace = object_namespace(o),
                                    .name = object_name(o),
                                    .options = API_OPTIONS_INIT };

        r.options.precondition_uid = object_uid(o);
        r.options.propagation_policy = str_of(propagation);
        return r;
}

int controller_delete(struct controller *c, const struct api_resource *res, const struct object *o,
                      const char *propagation, struct error *err) {
        struct client_request request = controller_delete_request(res, o, propagation);

        return error_except(write_one(c, &request, NULL, err), -ENOENT, err);
}

size_t controller_batch(struct controller *c, const struct client_request *requests, size_t n, int *results,
                        struct error *errors, struct object **objects) {
        _cleanup_free_ struct object **own = objects ? NULL : xcalloc(n + 1, sizeof(*own));
        struct object **answers = objects ? objects : own;
        size_t failed = client_batch(c->client, requests, n, results, errors, answers);

        for (size_t i = 0; i < n; i++) {
                if (results[i] == 0)
                        note_answer(c, &requests[i], answers[i]);
                if (own)
                        object_unref(own[i]);
        }
        return failed;
}

int controller_update_status(struct controller *c, const struct api_resource *res, const struct object *o,
                             const struct json *status, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = NULL;
        const struct json *doc = object_json(o);
        struct json copy;

        if (json_equal(json_getc(doc, "status"), status))
                return 0;
        a = arena_new(0);
        copy = json_copy_shallow(a, doc);
        json_setc(a, &copy, "status", *status);
        return controller_update(c, res, STR("status"), &copy, err);
}

/* ---- running ---- */

static int work(struct str key, void *arg) {
        struct running *r = arg;
        _cleanup_error_ struct error err = ERROR_INIT;
        int result = r->c.class->reconcile(&r->c, key, &err);

        /* A conflict, or something gone, means that the cache is behind, which passes; the rest is worth a line. */
        if (result < 0 && result != -EAGAIN && result != -ENOENT && result != -ECANCELED)
                log_warn("%s: %" STR_FMT ": %s", r->c.class->name, STR_ARG(key), error_text(&err));
        return result;
}

static void one_synced(void *arg) {
        struct controller *c = arg;

        if (--c->n_unsynced > 0)
                return;
        if (c->class->started)
                c->class->started(c);
        workqueue_pause(c->queue, false);
}

void controller_wait_for(struct controller *c, struct informer *i) {
        c->n_unsynced++;
        informer_on_synced(i, one_synced, c);
}

/* What a controller writes, it writes as itself: with the rights of its role and no more. */
static struct client *client_of(struct controller *c) {
        struct str groups[] = { STR("system:serviceaccounts"), STR("system:serviceaccounts:kube-system"),
                                STR("system:authenticated") };
        const char *account = c->class->account ?: c->class->name;
        struct api_user user = { .groups = groups, .n_groups = ARRAY_SIZE(groups) };
        char name[128];

        if (!*account)
                return c->all->options.client;
        user.name = str_n(name, (size_t) snprintf(name, sizeof(name), "system:serviceaccount:kube-system:%s", account));
        c->own_client = client_as(c->all->options.client, &user);
        return c->own_client ?: c->all->options.client;
}

static int controller_add(struct controllers *all, const struct controller_class *class, struct error *err) {
        struct running *r = xcalloc(1, sizeof(*r));
        struct controller *c = &r->c;

        vec_push(&all->controllers, r);
        c->class = class;
        c->all = all;
        c->client = client_of(c);
        c->informers = all->informers;
        c->loop = all->loop;
        c->clock = all->options.clock;
        c->events = event_recorder_new(c->client, class->name, NULL);
        c->queue = workqueue_new(all->loop, class->name, work, r);
        workqueue_set_clock(c->queue, c->clock);
        workqueue_pause(c->queue, true);
        if (class->init) {
                int result = class->init(c, &c->state, err);

                if (result < 0)
                        return error_prefix(err, "%s", class->name);
        }
        for (size_t n = 0; n < ARRAY_SIZE(class->watches) && class->watches[n].resource; n++) {
                struct informer *i = informer_of(all->informers, class->watches[n].resource);

                r->watches[n] = (struct watch_ctx) { c, class->watches[n].enqueue };
                if (class->watches[n].enqueue)
                        informer_add_handler(i, on_change, &r->watches[n]);
                controller_wait_for(c, i);
        }
        return 0;
}

int controllers_new(const struct controllers_options *o, struct loop *loop,
                    const struct controller_class *const classes[], struct controllers **ret, struct error *err) {
        struct controllers *all = xnew(struct controllers, .arena = arena_new(0), .options = *o, .loop = loop,
                                       .informers = informer_factory_new(o->client, loop));
        struct controllers_options *own = &all->options;
        struct str *texts[] = { &own->root_ca_pem, &own->service_account_key_pem, &own->signer_cert_pem,
                                &own->signer_key_pem };

        own->cluster_cidr = o->cluster_cidr ? arena_cstr(all->arena, str_of(o->cluster_cidr)) : NULL;
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
                *texts[i] = arena_str(all->arena, *texts[i]);
        own->clock = o->clock ?: &system_clock;
        for (size_t i = 0; classes[i]; i++) {
                int r = controller_add(all, classes[i], err);

                if (r < 0) {
                        controllers_free(all);
                        return r;
                }
        }
        informer_factory_start(all->informers);
        *ret = all;
        return 0;
}

void controllers_free(struct controllers *all) {
        if (!all)
                return;
        for (size_t i = 0; i < all->controllers.n; i++)
                workqueue_free(all->controllers.v[i]->c.queue);
        informer_factory_free(all->informers);
        for (size_t i = 0; i < all->controllers.n; i++) {
                struct controller *c = &all->controllers.v[i]->c;

                event_recorder_free(c->events);
                client_free(c->own_client);
                if (c->class->destroy && c->state)
                        c->class->destroy(c->state);
                free(all->controllers.v[i]);
        }
        vec_free(&all->controllers);
        resources_forget();
        arena_free(all->arena);
        free(all);
}

int64_t controllers_tick(struct controllers *all) {
        int64_t next = -1;

        for (size_t i = 0; i < all->controllers.n; i++) {
                int64_t due = workqueue_tick(all->controllers.v[i]->c.queue);

                if (due >= 0 && (next < 0 || due < next))
                        next = due;
        }
        return next;
}

struct setup {
        const struct controllers_options *options;
        struct loop *loop;
        struct controllers **ret;
        struct error *err;
        int result;
};

static void setup(void *arg) {
        struct setup *s = arg;

        s->result = controllers_new(s->options, s->loop, controller_table, s->ret, s->err);
}

static void teardown(void *arg) {
        controllers_free(arg);
}

int controllers_start(const struct controllers_options *o, struct controllers **ret, struct error *err) {
        struct setup s = { .options = o, .ret = ret, .err = err };

        TRY(loop_new("controllers", &s.loop, err));
        loop_start_thread(s.loop);
        loop_call_sync(s.loop, setup, &s);
        if (s.result < 0) {
                loop_end(s.loop);
        }
        return s.result;
}

void controllers_stop(struct controllers *all) {
        if (!all)
                return;
        struct loop *loop = all->loop;
        loop_call_sync(loop, teardown, all);
        loop_end(loop);
}

const struct controllers_options *controllers_options(const struct controllers *c) {
        return &c->options;
}
