/* The client's front: turns blocking calls, batches and asynchronous calls into struct api_call for a transport.
 *
 *   client_do ────┐                             ┌─▶ local.c   apiserver_call
 *   client_batch ─┼─▶ client_call ─▶ transport ─┼─▶ remote.c  HTTPS
 *   client_async ─┘       ▲                     └─▶ a fake    tests
 *                         └── waiter: counts down on whichever thread an answer arrives
 */
#include "client/client.h"

#include "base/lock.h"
#include "client/transport.h"
#include "client/wire.h"

struct client {
        const struct transport_ops *ops;
        void *transport;
        struct api_user user;
        struct arena *arena; /* the user */
        bool borrowed;       /* the transport is another client's */
};

struct client_watch {
        struct client *client;
        void *watch;
};

/* ---- life ---- */

static struct api_user copy_user(struct arena *a, const struct api_user *u) {
        struct api_user r = { .name = arena_str(a, u->name), .uid = arena_str(a, u->uid), .n_groups = u->n_groups };

        r.groups = arena_array(a, struct str, u->n_groups);
        for (size_t i = 0; i < u->n_groups; i++)
                r.groups[i] = arena_str(a, u->groups[i]);
        if (u->extra)
                r.extra = json_new(a, json_copy(a, u->extra));
        return r;
}

struct client *client_new(const struct transport_ops *ops, void *transport, const struct api_user *user) {
        struct client *c = xnew(struct client, .ops = ops, .transport = transport, .arena = arena_new(0));

        if (user)
                c->user = copy_user(c->arena, user);
        return c;
}

struct client *client_as(struct client *c, const struct api_user *user) {
        struct client *other = c->ops->any_user ? client_new(c->ops, c->transport, user) : NULL;

        if (other)
                other->borrowed = true;
        return other;
}

void client_free(struct client *c) {
        if (!c)
                return;
        if (!c->borrowed)
                c->ops->free(c->transport);
        arena_free(c->arena);
        free(c);
}

/* ---- calls ---- */

void client_call(struct client *c, struct api_call *call) {
        call->user = c->user;
        c->ops->call(c->transport, call);
}

const struct transport_ops *client_transport(const struct client *c, void **ret) {
        *ret = c->transport;
        return c->ops;
}

int client_discover(struct client *c, struct object **ret, struct error *err) {
        return client_get(c, &wire_discovery, STR(""), STR(""), ret, err);
}

int api_call_result(struct api_call *call) {
        if (call->code < 400 && call->error.err == 0)
                return 0;
        if (call->error.code == 0)
                call->error.code = call->code;
        return call->error.err < 0 ? call->error.err : -EIO;
}

static void call_init(struct api_call *call, const struct client_request *r, struct arena *a) {
        *call = (struct api_call) {
                .verb = r->verb,
                .resource = r->resource,
                .namespace = r->namespace,
                .name = r->name,
                .subresource = r->subresource,
                .options = r->options,
                .patch = r->patch,
                .body = r->body,
                .arena = a,
        };
        /* A zeroed request is the natural way to write one; nobody asks for a grace period of 0 except in a delete. */
        if (r->verb != API_DELETE && r->verb != API_DELETE_COLLECTION)
                call->options.grace_period_seconds = -1;
}

/* The answer as one object, whether it is stored or was made for this call. A reference, or NULL. */
static struct object *call_take_object(struct api_call *call) {
        if (call->object)
                return TAKE_PTR(call->object);
        return call->tree ? object_from_tree(call->tree) : NULL;
}

static void call_release(struct api_call *call) {
        object_unref(TAKE_PTR(call->object));
        api_list_free(TAKE_PTR(call->list));
        error_clear(&call->error);
}

/* Counts answers down. The last one wakes the caller while the lock is held, so that the waiter may live on its stack.
 */
struct waiter {
        pthread_mutex_t lock;
        pthread_cond_t cond;
        size_t pending;
};

static void waiter_done(struct api_call *call) {
        struct waiter *w = call->userdata;
        HOLD(&w->lock);

        if (--w->pending == 0)
                pthread_cond_signal(&w->cond);
}

static void run_calls(struct client *c, struct api_call *calls, size_t n) {
        struct waiter w = { .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER, .pending = n };

        for (size_t i = 0; i < n; i++) {
                calls[i].loop = NULL;
                calls[i].done = waiter_done;
                calls[i].userdata = &w;
                client_call(c, &calls[i]);
        }
        with_lock(&w.lock)
                while (w.pending > 0)
                        pthread_cond_wait(&w.cond, &w.lock);
        pthread_cond_destroy(&w.cond);
        pthread_mutex_destroy(&w.lock);
}

static int do_one(struct client *c, const struct client_request *r, struct object **ret, struct api_list **ret_list,
                  struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct api_call call;
        int result;

        call_init(&call, r, a);
        run_calls(c, &call, 1);
        result = api_call_result(&call);
        if (result < 0 && err)
                error_move(err, &call.error);
        if (result == 0 && ret)
                *ret = call_take_object(&call);
        if (result == 0 && ret_list)
                *ret_list = TAKE_PTR(call.list);
        call_release(&call);
        return result;
}

int client_do(struct client *c, const struct client_request *r, struct object **ret, struct error *err) {
        return do_one(c, r, ret, NULL, err);
}

int client_get(struct client *c, const struct api_resource *res, struct str ns, struct str name, struct object **ret,
               struct error *err) {
        return client_do(c,
                         &(struct client_request) { .verb = API_GET, .resource = res, .namespace = ns, .name = name },
                         ret, err);
}

int client_create(struct client *c, const struct api_resource *res, struct str ns, const struct json *body,
                  struct object **ret, struct error *err) {
        return client_do(
                        c,
                        &(struct client_request) { .verb = API_CREATE, .resource = res, .namespace = ns, .body = body },
                        ret, err);
}

struct client_request client_update_request(const struct api_resource *res, struct str subresource,
                                            const struct json *body) {
        const struct json *meta = json_getc(body, "metadata");

        return (struct client_request) { .verb = API_UPDATE,
                                         .resource = res,
                                         .subresource = subresource,
                                         .body = body,
                                         .namespace = json_str(json_getc(meta, "namespace")),
                                         .name = json_str(json_getc(meta, "name")) };
}

int client_update(struct client *c, const struct api_resource *res, struct str subresource, const struct json *body,
                  struct object **ret, struct error *err) {
        struct client_request r = client_update_request(res, subresource, body);

        return client_do(c, &r, ret, err);
}

int client_patch(struct client *c, const struct api_resource *res, struct str ns, struct str name,
                 struct str subresource, enum api_patch type, const struct json *patch, struct object **ret,
                 struct error *err) {
        struct client_request r = { .verb = API_PATCH,
                                    .resource = res,
                                    .namespace = ns,
                                    .name = name,
                                    .subresource = subresource,
                                    .body = patch,
                                    .patch = type };

        return client_do(c, &r, ret, err);
}

int client_delete(struct client *c, const struct api_resource *res, struct str ns, struct str name,
                  const struct api_options *o, struct error *err) {
        struct client_request r = {
                .verb = API_DELETE, .resource = res, .namespace = ns, .name = name, .options = o ? *o : API_OPTIONS_INIT
        };

        return client_do(c, &r, NULL, err);
}

int client_list(struct client *c, const struct api_resource *res, struct str ns, const struct api_options *o,
                struct api_list **ret, struct error *err) {
        struct client_request r = { .verb = API_LIST, .resource = res, .namespace = ns };

        if (o)
                r.options = *o;
        return do_one(c, &r, NULL, ret, err);
}

/* ---- many at once ---- */

#define BATCH_WINDOW 256 /* calls in flight of one batch */

static size_t batch_window(struct client *c, const struct client_request *requests, size_t n, int *results,
                           struct error *errors, struct object **objects) {
        _cleanup_free_ struct api_call *calls = xcalloc(n, sizeof(*calls));
        size_t failed = 0;

        for (size_t i = 0; i < n; i++)
                call_init(&calls[i], &requests[i], arena_new(0));
        run_calls(c, calls, n);
        for (size_t i = 0; i < n; i++) {
                int r = api_call_result(&calls[i]);

                failed += r < 0;
                if (results)
                        results[i] = r;
                if (errors)
                        error_move(&errors[i], &calls[i].error);
                if (objects)
                        objects[i] = r < 0 ? NULL : call_take_object(&calls[i]);
                call_release(&calls[i]);
                arena_free(calls[i].arena);
        }
        return failed;
}

size_t client_batch(struct client *c, const struct client_request *requests, size_t n, int *results,
                    struct error *errors, struct object **objects) {
        size_t failed = 0;

        for (size_t i = 0; i < n; i += BATCH_WINDOW)
                failed += batch_window(c, requests + i, MIN(n - i, (size_t) BATCH_WINDOW), results ? results + i : NULL,
                                       errors ? errors + i : NULL, objects ? objects + i : NULL);
        return failed;
}

/* ---- without waiting ---- */

struct async_call {
        struct api_call call;
        void (*done)(int result, struct object *object, const struct error *error, void *arg);
        void *arg;
};

static void async_done(struct api_call *call) {
        struct async_call *x = call->userdata;
        struct arena *a = call->arena;
        int r = api_call_result(call);
        _cleanup_(object_unrefp) struct object *o = r < 0 ? NULL : call_take_object(call);

        if (x->done)
                x->done(r, o, &call->error, x->arg);
        call_release(call);
        arena_free(a); /* and with it x */
}

static struct api_options copy_options(struct arena *a, const struct api_options *o) {
        struct api_options c = *o;
        struct str *texts[] = { &c.label_selector,         &c.field_selector,   &c.resource_version,
                                &c.resource_version_match, &c.continue_token,   &c.field_manager,
                                &c.propagation_policy,     &c.precondition_uid, &c.precondition_resource_version };

        for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
                if (texts[i]->p)
                        *texts[i] = arena_str(a, *texts[i]);
        return c;
}

void client_async(struct client *c, const struct client_request *r, struct loop *loop,
                  void (*done)(int result, struct object *object, const struct error *error, void *arg), void *arg) {
        struct arena *a = arena_new(0);
        struct async_call *x = arena_new_of(a, struct async_call);

        call_init(&x->call, r, a);
        x->call.namespace = arena_str(a, r->namespace);
        x->call.name = arena_str(a, r->name);
        x->call.subresource = arena_str(a, r->subresource);
        x->call.options = copy_options(a, &x->call.options);
        if (r->body)
                x->call.body = json_new(a, json_copy(a, r->body));
        x->call.loop = loop;
        x->call.done = async_done;
        x->call.userdata = x;
        x->done = done;
        x->arg = arg;
        client_call(c, &x->call);
}

/* ---- watch ---- */

int client_watch(struct client *c, const struct client_request *r, struct loop *loop,
                 void (*event)(const struct api_event *e, void *arg), void *arg, struct client_watch **ret,
                 struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_free_ struct client_watch *w = xcalloc(1, sizeof(*w));
        struct api_call call;

        call_init(&call, r, a);
        call.verb = API_WATCH;
        call.loop = loop;
        call.user = c->user;
        w->client = c;
        TRY(c->ops->watch(c->transport, &call, event, arg, &w->watch, err));
        *ret = TAKE_PTR(w);
        return 0;
}

void client_watch_stop(struct client_watch *w) {
        if (!w)
                return;
        w->client->ops->watch_stop(w->client->transport, w->watch);
        free(w);
}
