/* The watcher: one thread that learns of every container's end and says it on.
 *
 *   conmon ──rename──▶ exits/<id> ──inotify──▶ ┐
 *   container's pid ──pidfd──────────────────▶ ├ epoll ─▶ state, state.json, runtime.changed, listeners
 *   runtime_free ──eventfd───────────────────▶ ┘
 *
 * The exit file has the code; the pidfd is there for the day when conmon was killed: if no file follows the end of the
 * process for LOST_MS, the container ended with a code nobody knows. */
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/syscall.h>

#include "base/file.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/time.h"
#include "runtime/oci/oci.h"

#define LOST_MS 3000
#define EXIT_UNKNOWN 255

int64_t process_start_time(int pid) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        char path[32];
        struct str rest, field = { 0 };
        ssize_t paren;
        int64_t ticks;

        snprintf(path, sizeof(path), "/proc/%d/stat", pid);
        if (pid <= 0 || file_read(path, 0, &b, NULL) < 0)
                return -1;
        paren = str_rfind(buf_str(&b), ')'); /* the name may hold anything */
        if (paren < 0)
                return -1;
        rest = str_sub(buf_str(&b), (size_t) paren + 2, b.n);
        if (!str_empty(rest) && (rest.p[0] == 'Z' || rest.p[0] == 'X'))
                return -1;            /* has ended */
        for (int i = 3; i <= 22; i++) /* proc(5): starttime is the 22nd */
                if (!str_split(&rest, ' ', &field))
                        return -1;
        return str_to_i64(field, &ticks) < 0 ? -1 : ticks;
}

/* ---- telling ---- */

struct note {
        struct loop_work work;
        struct exit_listener listener;
        char id[65];
};

static void deliver(struct loop_work *w) {
        struct note *n = container_of(w, struct note, work);

        n->listener.fn(n->id, n->listener.arg);
        free(n);
}

static void tell(struct runtime *r, const struct container *c) {
        HOLD(&r->lock);
        for (size_t i = 0; i < r->listeners.n; i++) {
                struct note *n = xcalloc(1, sizeof(*n));

                n->listener = r->listeners.v[i];
                n->work.run = deliver;
                snprintf(n->id, sizeof(n->id), "%s", c->id);
                loop_post(n->listener.loop, &n->work);
        }
}

void runtime_on_exit(struct runtime *r, struct loop *loop, void (*fn)(const char *container_id, void *arg), void *arg) {
        HOLD(&r->lock);
        for (size_t i = 0; !fn && i < r->listeners.n;) {
                if (r->listeners.v[i].arg == arg)
                        vec_remove(&r->listeners, i);
                else
                        i++;
        }
        if (fn)
                vec_push(&r->listeners, (struct exit_listener) { loop, fn, arg });
}

/* ---- learning ---- */

static int read_exit(const struct runtime *r, const char *id, int64_t *ret_code, int64_t *ret_when) {
        _cleanup_free_ char *path = xprintf("%s/exits/%s", r->state_dir, id);
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct stat st;
        int k = file_read(path, 64, &b, NULL);

        if (k < 0 || stat(path, &st) < 0)
                return -ENOENT;
        *ret_when = st.st_mtim.tv_sec * NSEC_PER_SEC + st.st_mtim.tv_nsec;
        return str_to_i64(str_trim(buf_str(&b)), ret_code);
}

bool container_has_exit(const struct runtime *r, const char *id) {
        _cleanup_free_ char *path = xprintf("%s/exits/%s", r->state_dir, id);

        return file_exists(path);
}

static bool oom_file(const struct container *c) {
        _cleanup_free_ char *path = xprintf("%s/oom", c->dir);

        return file_exists(path);
}

void container_exited(struct runtime *r, struct container *c) {
        int64_t code = EXIT_UNKNOWN, when = now_wall_ns();
        bool known = read_exit(r, c->id, &code, &when) >= 0;
        bool oom = cgroup_oom_killed(&r->cgroups, c->cgroup) || oom_file(c);
        bool news = false;

        if (!c->own_pid_ns) /* what its first process left behind does not end by itself */
                cgroup_kill(&r->cgroups, c->cgroup);
        with_lock(&r->lock) {
                news = c->state == CONTAINER_RUNNING;
                if (news) {
                        c->state = CONTAINER_EXITED;
                        c->exit_code = code;
                        c->finished_ns = MAX(when, c->started_ns);
                        c->died_ms = 0;
                        if (!*c->reason)
                                c->reason = (char *) (oom      ? "OOMKilled"
                                                      : !known ? "ContainerStatusUnknown"
                                                      : code   ? "Error"
                                                               : "Completed");
                        if (!known)
                                c->message = (char *) "The container could not be located when it ended: its monitor "
                                                      "was gone";
                        pthread_cond_broadcast(&r->changed);
                }
        }
        if (!news)
                return;
        if (unit_save(r, c, NULL) < 0)
                log_warn("container %s: cannot write its state", c->id);
        tell(r, c);
}

static void on_exit_file(struct runtime *r, const char *name) {
        struct container *c;

        if (strlen(name) != 64 || container_get(r, name, &c, NULL) < 0)
                return;
        container_exited(r, c);
        unit_put(r, c);
}

static void drain_inotify(struct runtime *r) {
        char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));

        for (;;) {
                ssize_t n = read(r->inotify, events, sizeof(events));

                if (n <= 0)
                        return;
                for (char *p = events; p < events + n;) {
                        struct inotify_event *e = (struct inotify_event *) p;

                        if (e->len)
                                on_exit_file(r, e->name);
                        p += sizeof(*e) + e->len;
                }
        }
}

/* The process ended; conmon's word follows within a moment, or never. */
static void on_process_end(struct runtime *r, struct container *c) {
        epoll_ctl(r->epoll, EPOLL_CTL_DEL, c->pidfd, NULL);
        if (container_has_exit(r, c->id))
                return container_exited(r, c);
        HOLD(&r->lock);
        c->died_ms = now_mono_ms();
}

/* Containers whose conmon keeps silent. Returns how long to sleep (ms, -1: for ever). */
static int check_lost(struct runtime *r) {
        struct container **list;
        size_t n = containers_of(r, NULL, &list);
        int64_t now = now_mono_ms(), next = -1;

        for (size_t i = 0; i < n; i++) {
                int64_t died = 0, state = 0;

                with_lock(&r->lock) {
                        died = list[i]->died_ms;
                        state = list[i]->state;
                }
                if (died && state == CONTAINER_RUNNING) {
                        if (now - died >= LOST_MS || container_has_exit(r, list[i]->id))
                                container_exited(r, list[i]);
                        else
                                next = next < 0 ? died + LOST_MS - now : MIN(next, died + LOST_MS - now);
                }
                unit_put(r, list[i]);
        }
        free(list);
        return next < 0 ? -1 : (int) MAX(next, 1);
}

static void *watcher(void *arg) {
        struct runtime *r = arg;
        bool waiting = false;
        int timeout = -1;

        log_set_component("runtime");
        for (;;) {
                struct epoll_event events[64];
                int n = epoll_wait(r->epoll, events, ARRAY_SIZE(events), timeout);

                for (int i = 0; i < n; i++) {
                        void *what = events[i].data.ptr;

                        if (what == &r->wake)
                                return NULL;
                        if (what == &r->inotify) {
                                drain_inotify(r);
                                continue;
                        }
                        on_process_end(r, what);
                        unit_put(r, what); /* watch_container's */
                        waiting = true;
                }
                if (waiting) {
                        timeout = check_lost(r);
                        waiting = timeout >= 0;
                }
        }
}

void watch_container(struct runtime *r, struct container *c) {
        struct epoll_event e = { .events = EPOLLIN, .data.ptr = c };
        int fd = (int) syscall(SYS_pidfd_open, (pid_t) c->pid, 0);
        HOLD(&r->lock);

        closep(&c->pidfd);
        c->pidfd = fd;
        if (fd >= 0) {
                c->refs++;
                if (epoll_ctl(r->epoll, EPOLL_CTL_ADD, fd, &e) < 0)
                        c->refs--; /* not the last: the caller has one */
        } else
                c->died_ms = now_mono_ms();
}

int watch_start(struct runtime *r, struct error *err) {
        _cleanup_free_ char *exits = xprintf("%s/exits", r->state_dir);
        struct epoll_event wake = { .events = EPOLLIN, .data.ptr = &r->wake },
                           notify = { .events = EPOLLIN, .data.ptr = &r->inotify };
        sigset_t all, old;

        r->epoll = epoll_create1(EPOLL_CLOEXEC);
        r->wake = eventfd(0, EFD_CLOEXEC);
        r->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
        if (r->epoll < 0 || r->wake < 0 || r->inotify < 0 || epoll_ctl(r->epoll, EPOLL_CTL_ADD, r->wake, &wake) < 0 ||
            epoll_ctl(r->epoll, EPOLL_CTL_ADD, r->inotify, &notify) < 0)
                return error_errno(err, -errno, "watch containers");
        if (inotify_add_watch(r->inotify, exits, IN_MOVED_TO | IN_CLOSE_WRITE) < 0)
                return error_errno(err, -errno, "watch %s", exits);
        sigfillset(&all);
        pthread_sigmask(SIG_BLOCK, &all, &old); /* signals are the main thread's */
        int k = pthread_create(&r->watcher, NULL, watcher, r);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        if (k)
                return error_errno(err, -k, "start a thread");
        r->watching = true;
        return 0;
}

void watch_stop(struct runtime *r) {
        uint64_t one = 1;

        if (r->watching) {
                if (write(r->wake, &one, sizeof(one)) == sizeof(one))
                        pthread_join(r->watcher, NULL);
                r->watching = false;
        }
        closep(&r->epoll);
        closep(&r->wake);
        closep(&r->inotify);
}
