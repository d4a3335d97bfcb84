/* Images for containers: the pull policy, the queue of pulls, back-off, and which images go when the disk fills.
 *
 *   image_ensure ─ present ─▶ go on
 *        └ absent ─▶ queue ─▶ at most max_parallel_pulls tasks ─▶ message to the pod ─▶ next step
 *
 * A failed pull is tried again after 10 s, 20 s … 5 min, by container, as upstream does by pod and image. */
#include "base/lock.h"
#include "kubelet/internal.h"

#include <sys/statvfs.h>

#include "kubelet/credentials.h"

#define SHOW_ERROR_MS 2000 /* how long ErrImagePull is seen before ImagePullBackOff */
#define RETRY_MS (10 * 1000)
#define MIN_AGE_NS (120 * NSEC_PER_SEC)

struct images {
        struct kubelet *k;
        pthread_mutex_t lock;
        struct list queue;
        unsigned active;
};

struct pull {
        struct pod_task task;
        struct list link;
        struct object *object;         /* the pod: for its secrets */
        char *container, *ref, *shown; /* shown: as the spec writes it */
        bool always;
        int64_t queued_ns, took_ns, waited_ns; /* monotonic */
        int result;
        char *id;
        uint64_t size;
        struct error error;
};

struct images *images_new(struct kubelet *k) {
        struct images *i = xcalloc(1, sizeof(*i));

        i->k = k;
        list_init(&i->queue);
        pthread_mutex_init(&i->lock, NULL);
        return i;
}

void images_free(struct images *i) {
        if (!i)
                return;
        pthread_mutex_destroy(&i->lock);
        free(i);
}

/* ---- the queue ---- */

/* A pull of q, or NULL when the limit is reached or there is none. Takes the place. */
static struct pull *take_next(struct images *i) {
        struct pull *next = NULL;
        HOLD(&i->lock);

        if (i->active < i->k->o.max_parallel_pulls && !list_empty(&i->queue)) {
                next = list_entry(i->queue.next, struct pull, link);
                list_del(&next->link);
                i->active++;
        }
        return next;
}

static void start_next(struct images *i) {
        struct pull *next = take_next(i);

        if (next)
                pool_submit(i->k->pool, &next->task.task);
}

static void give_place(struct images *i) {
        with_lock(&i->lock)
                i->active--;
        start_next(i);
}

/* ---- the pull ---- */

static int pull_once(struct pull *q, struct arena *a, struct error *err) {
        struct kubelet *k = q->task.pod->k;
        struct registry_auth *auths = NULL;
        size_t n = 0;

        credentials_of_pod(k, a, q->object, str_of(q->ref), &auths, &n);
        if (n == 0)
                return runtime_image_pull(k->runtime, str_of(q->ref), NULL, NULL, NULL, &q->id, err);
        int r = -ENOENT;
        for (size_t i = 0; i < n && r < 0; i++) {
                error_clear(err);
                r = runtime_image_pull(k->runtime, str_of(q->ref), &auths[i], NULL, NULL, &q->id, err);
        }
        return r;
}

static void pull_run(struct pod_task *t) {
        struct pull *q = container_of(t, struct pull, task);
        struct kubelet *k = t->pod->k;
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct image_status status = { 0 };
        int64_t begin = now_mono_ns();

        q->waited_ns = begin - q->queued_ns;
        /* Another pod's pull may have brought it while this one waited. */
        if (!q->always && runtime_image_status(k->runtime, a, str_of(q->ref), &status, NULL) == 0)
                q->id = xstrdup(status.id);
        else
                q->result = pull_once(q, a, &q->error);
        if (q->result >= 0 && !status.id)
                runtime_image_status(k->runtime, a, str_of(q->id), &status, NULL);
        q->size = status.size;
        q->took_ns = now_mono_ns() - begin;
        give_place(k->images);
}

static void report_pulled(struct pull *q, struct container *c) {
        char a[36], b[36];
        struct str took = duration_format(a, q->took_ns / NSEC_PER_MSEC * NSEC_PER_MSEC);

        struct str all = duration_format(b, (q->took_ns + q->waited_ns) / NSEC_PER_MSEC * NSEC_PER_MSEC);
        pod_event(q->task.pod, c, "Normal", "Pulled",
                  "Successfully pulled image \"%s\" in %" STR_FMT " (%" STR_FMT
                  " including waiting). Image size: %llu bytes.",
                  q->shown, STR_ARG(took), STR_ARG(all), (unsigned long long) q->size);
        node_poke(q->task.pod->k); /* its list of images */
        c->pull = JOB_DONE;
        set_string(&c->image_id, str_of(q->id));
        set_string(&c->pull_error, (struct str) { 0 });
        c->pull_backoff = (struct backoff) { 0 };
}

static void report_failed(struct pull *q, struct container *c) {
        struct pod *p = q->task.pod;
        int64_t now = kubelet_now(p->k);

        pod_event(p, c, "Warning", "Failed", "Failed to pull image \"%s\": %s", q->shown, error_text(&q->error));
        pod_event(p, c, "Warning", "Failed", "Error: ErrImagePull");
        container_wait_reason(c, "ErrImagePull", "%s", error_text(&q->error));
        free(c->pull_error);
        c->pull_error = xprintf("ErrImagePull: %s", error_text(&q->error));
        backoff_next(&c->pull_backoff, now, now);
        c->pull_failed_ns = now;
        c->pull = JOB_FAILED;
}

static void pull_applied(struct pod_task *t) {
        struct pull *q = container_of(t, struct pull, task);
        struct container *c = pod_container(t->pod, str_of(q->container));

        if (c && q->result >= 0)
                report_pulled(q, c);
        else if (c)
                report_failed(q, c);
        object_unref(q->object);
        error_clear(&q->error);
        free_all(q->container, q->ref, q->shown, q->id, q);
}

static void queue_pull(struct container *c, struct str ref, bool always) {
        struct pod *p = c->pod;
        struct images *i = p->k->images;
        struct pull *q = xnew(struct pull, .object = object_ref(p->current), .container = xstrdup(c->name),
                              .ref = str_dup(ref), .shown = str_dup(jstr(c->spec, "image")), .always = always,
                              .queued_ns = now_mono_ns(), .task.run = pull_run, .task.apply = pull_applied);

        c->pull = JOB_RUNNING;
        pod_event(p, c, "Normal", "Pulling", "Pulling image \"%s\"", q->shown);
        pod_prepare(p, &q->task);
        with_lock(&i->lock)
                list_push(&i->queue, &q->link);
        start_next(i);
}

/* ---- the decision ---- */

static bool refuse(struct container *c, const char *reason, const char *event, const char *fmt, ...) {
        char text[1024];

        variadic(ap, fmt, vsnprintf(text, sizeof(text), fmt, ap));
        if (!c->waiting || strcmp(c->waiting, reason) != 0) {
                pod_event(c->pod, c, "Warning", event, "%s", text);
                pod_event(c->pod, c, "Warning", "Failed", "Error: %s", reason);
        }
        container_wait_reason(c, reason, "%s", text);
        pod_retry(c->pod, RETRY_MS);
        return false;
}

static bool backing_off(struct container *c, struct str image) {
        int64_t left = backoff_remaining(&c->pull_backoff, c->pull_failed_ns, kubelet_now(c->pod->k));

        if (left == 0)
                return false;
        if (!c->waiting || strcmp(c->waiting, "ImagePullBackOff") != 0) {
                pod_event(c->pod, c, "Normal", "BackOff", "Back-off pulling image \"%" STR_FMT "\"", STR_ARG(image));
                pod_event(c->pod, c, "Warning", "Failed", "Error: ImagePullBackOff");
        }
        container_wait_reason(c, "ImagePullBackOff", "Back-off pulling image \"%" STR_FMT "\"%s%s", STR_ARG(image),
                              c->pull_error ? ": " : "", c->pull_error ? c->pull_error : "");
        pod_retry(c->pod, left / NSEC_PER_MSEC + 1);
        return true;
}

bool image_ensure(struct container *c) {
        struct pod *p = c->pod;
        struct str image = jstr(c->spec, "image"),
                   policy = json_str_or(json_getc(c->spec, "imagePullPolicy"), STR("IfNotPresent"));
        struct image_status status = { 0 };
        _cleanup_error_ struct error err = ERROR_INIT;
        struct str ref;

        switch (c->pull) {
        case JOB_RUNNING:
                return false;
        case JOB_DONE:
                c->pull = JOB_IDLE;
                return true;
        case JOB_FAILED:
                c->pull = JOB_IDLE;
                pod_retry(p, SHOW_ERROR_MS);
                return false;
        case JOB_IDLE:
                break;
        }
        if (c->waiting && strcmp(c->waiting, "ErrImagePull") == 0 &&
            kubelet_now(p->k) - c->pull_failed_ns < SHOW_ERROR_MS * NSEC_PER_MSEC) {
                pod_retry(p, SHOW_ERROR_MS);
                return false;
        }
        if (image_normalize(p->arena, image, &ref, &err) < 0)
                return refuse(c, "InvalidImageName", "InspectFailed",
                              "Failed to apply default image tag \"%" STR_FMT "\": %s", STR_ARG(image),
                              error_text(&err));
        int r = runtime_image_status(p->k->runtime, p->arena, ref, &status, &err);
        if (r < 0 && r != -ENOENT)
                return refuse(c, "ImageInspectError", "InspectFailed", "Failed to inspect image \"%" STR_FMT "\": %s",
                              STR_ARG(image), error_text(&err));
        if (r >= 0 && !str_eqc(policy, "Always")) {
                pod_event(p, c, "Normal", "Pulled", "Container image \"%" STR_FMT "\" already present on machine",
                          STR_ARG(image));
                set_string(&c->image_id, str_of(status.id));
                return true;
        }
        if (str_eqc(policy, "Never"))
                return refuse(c, "ErrImageNeverPull", "ErrImageNeverPull",
                              "Container image \"%" STR_FMT "\" is not present with pull policy of Never",
                              STR_ARG(image));
        if (!backing_off(c, image))
                queue_pull(c, ref, str_eqc(policy, "Always"));
        return false;
}

/* ---- garbage ---- */

static int used_percent(const char *path, uint64_t *ret_total) {
        struct statvfs v;

        if (statvfs(path, &v) < 0 || v.f_blocks == 0)
                return 0;
        *ret_total = (uint64_t) v.f_blocks * v.f_frsize;
        return (int) (100 - (uint64_t) v.f_bavail * 100 / v.f_blocks);
}

static int by_use(const void *a, const void *b) {
        const struct image_status *x = a, *y = b;

        return x->used_ns < y->used_ns ? -1 : x->used_ns > y->used_ns;
}

/* When the disk is fuller than the high mark: the images that were used longest ago go until the low one. The runtime
 * keeps those that containers use. */
void images_collect(struct kubelet *k) {
        struct image_status *list = NULL;
        uint64_t total = 0, freed = 0, wanted;
        int used = used_percent(k->o.root_dir, &total);
        size_t n = 0;

        if (used < k->o.image_gc_high_percent)
                return;
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        wanted = total / 100 * (uint64_t) (used - k->o.image_gc_low_percent);
        if (runtime_image_list(k->runtime, a, &list, &n, NULL) < 0 || n == 0)
                return;
        qsort(list, n, sizeof(*list), by_use);
        for (size_t i = 0; i < n && freed < wanted; i++) {
                if (list[i].pinned || kubelet_now(k) - list[i].used_ns < MIN_AGE_NS)
                        continue;
                if (runtime_image_remove(k->runtime, str_of(list[i].id), NULL) == 0)
                        freed += list[i].size;
        }
        log_info("kubelet: disk %d%% full, freed %llu MiB of images", used, (unsigned long long) (freed >> 20));
}
