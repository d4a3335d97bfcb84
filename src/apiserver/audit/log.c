/* The file of the audit log. In the mode batch a thread writes it, and no request waits for the disk; in the others
 * each event is written where it arises. A file that is full is renamed with the time, as
 * "audit-2006-01-02T15-04-05.000.log", and compressed if so wished; old ones are removed by number and age. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "apiserver/audit/audit.h"
#include "base/file.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/metrics.h"

#define MAX_WAITING (16 * 1024 * 1024)

METRIC(lost, COUNTER, "apiserver_audit_error_total",
       "[ALPHA] Counter of audit events that failed to be audited properly. Plugin identifies the plugin affected by "
       "the error.");

void audit_lost(const char *plugin, unsigned n) {
        series_add(SERIES(&lost, { "plugin", str_of(plugin) }), n);
}

struct audit_log {
        char *path;
        size_t max_bytes, bytes;
        unsigned max_age_days, max_backups;
        bool compress;
        int fd;
        struct audit_plugin plugin;
        pthread_t thread; /* of the mode batch */
        pthread_t mill;   /* compresses what was rotated, and removes what is old */
        bool milling;     /* it was started */
        pthread_mutex_t lock;
        pthread_cond_t more;
        struct buf waiting;
        int64_t n_waiting; /* lines */
        bool closing;
};

/* ---- rotation ---- */

static int open_file(struct audit_log *l) {
        struct stat st;

        l->fd = open(l->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (l->fd < 0)
                return -errno;
        l->bytes = fstat(l->fd, &st) == 0 ? (size_t) st.st_size : 0;
        return 0;
}

/* path in parts: the directory, "audit-", ".log". */
static void name_parts(const char *path, struct str *ret_dir, struct str *ret_prefix, struct str *ret_suffix) {
        struct str all = str_of(path), name;
        ssize_t slash = str_rfind(all, '/'), dot;

        *ret_dir = slash > 0 ? str_sub(all, 0, (size_t) slash) : slash == 0 ? STR("/") : STR(".");
        name = str_sub(all, (size_t) (slash + 1), all.n);
        dot = str_rfind(name, '.');
        *ret_prefix = dot < 0 ? name : str_sub(name, 0, (size_t) dot);
        *ret_suffix = dot < 0 ? STR("") : str_sub(name, (size_t) dot, name.n);
}

static int newest_first(const struct dirent **a, const struct dirent **b) {
        return strcmp((*b)->d_name, (*a)->d_name);
}

/* path becomes path.gz, for the same readers. */
static void compress_file(const char *path) {
        _cleanup_free_ char *to = xprintf("%s.gz", path);
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        char piece[65536];
        struct stat st;
        ssize_t n = -1;
        int dst = -1;
        gzFile out = NULL;

        if (fd >= 0 && fstat(fd, &st) == 0)
                dst = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, st.st_mode & 07777);
        if (dst >= 0 && fchown(dst, st.st_uid, st.st_gid) == 0)
                out = gzdopen(dst, "wb");
        if (dst >= 0 && !out)
                close(dst);
        while (out && (n = read(fd, piece, sizeof(piece))) > 0)
                if (gzwrite(out, piece, (unsigned) n) != n)
                        break;
        if (out && gzclose(out) == Z_OK && n == 0) {
                unlink(path);
                return;
        }
        unlink(to);
        log_warn("audit log: cannot compress %s", path);
}

/* The name of a file that was rotated, without ".gz", and when that was. */
static bool is_rotated(struct str name, struct str prefix, struct str suffix, time_t *ret) {
        struct tm tm = { 0 };
        char when[20];

        if (!str_has_prefix(name, prefix) || !str_has_suffix(name, suffix) || name.n != prefix.n + suffix.n + 24 ||
            name.p[prefix.n] != '-')
                return false;
        memcpy(when, name.p + prefix.n + 1, 19);
        when[19] = 0;
        if (!strptime(when, "%Y-%m-%dT%H-%M-%S", &tm))
                return false;
        *ret = timegm(&tm);
        return true;
}

/* Of what was rotated, now or by an earlier server, what is too old or too much goes, and the rest is compressed. */
static void *mill(void *arg) {
        struct audit_log *l = arg;
        struct str dir, prefix, suffix;
        struct dirent **list = NULL;
        unsigned kept = 0;
        time_t now = time(NULL), then;

        name_parts(l->path, &dir, &prefix, &suffix);
        _cleanup_free_ char *where = str_dup(dir);
        int n = scandir(where, &list, NULL, newest_first);
        for (int i = 0; i < n; i++) {
                struct str name = str_of(list[i]->d_name);
                _cleanup_free_ char *path = xprintf("%s/%s", where, list[i]->d_name);
                bool packed = str_has_suffix(name, STR(".gz"));

                if (packed)
                        name.n -= 3;
                if (is_rotated(name, prefix, suffix, &then)) {
                        if ((l->max_backups && ++kept > l->max_backups) ||
                            (l->max_age_days && now - then > (time_t) l->max_age_days * 86400))
                                unlink(path);
                        else if (l->compress && !packed)
                                compress_file(path);
                }
                free(list[i]);
        }
        free(list);
        return NULL;
}

static void wait_for_mill(struct audit_log *l) {
        if (l->milling)
                pthread_join(l->mill, NULL);
        l->milling = false;
}

static void start_mill(struct audit_log *l) {
        wait_for_mill(l);
        l->milling = l->compress || l->max_backups || l->max_age_days;
        if (l->milling && pthread_create(&l->mill, NULL, mill, l) != 0)
                abort();
}

static void rotate(struct audit_log *l) {
        struct str dir, prefix, suffix;
        struct timespec ts;
        struct stat st;
        struct tm tm;
        char when[32];
        bool known = fstat(l->fd, &st) == 0;

        clock_gettime(CLOCK_REALTIME, &ts);
        gmtime_r(&ts.tv_sec, &tm);
        strftime(when, sizeof(when), "%Y-%m-%dT%H-%M-%S", &tm);
        name_parts(l->path, &dir, &prefix, &suffix);
        _cleanup_free_ char *to = xprintf("%" STR_FMT "/%" STR_FMT "-%s.%03ld%" STR_FMT, STR_ARG(dir), STR_ARG(prefix),
                                          when, (long) (ts.tv_nsec / NSEC_PER_MSEC), STR_ARG(suffix));
        close(l->fd);
        if (rename(l->path, to) < 0)
                log_warn("audit log: rename %s: %s", l->path, strerrordesc_np(errno));
        if (open_file(l) < 0)
                log_error("audit log: open %s: %s", l->path, strerrordesc_np(errno));
        else if (known && (fchmod(l->fd, st.st_mode & 07777) < 0 || fchown(l->fd, st.st_uid, st.st_gid) < 0))
                log_warn("audit log: the readers of %s: %s", l->path, strerrordesc_np(errno));
        start_mill(l);
}

/* ---- writing ---- */

/* False: not all of it could be written. */
static bool write_out(struct audit_log *l, struct str data) {
        while (data.n > 0 && l->fd >= 0) {
                size_t n = data.n;

                if (l->path && l->bytes > 0 && l->bytes + n > l->max_bytes) {
                        /* up to the last line that fits */
                        ssize_t end = l->bytes < l->max_bytes
                                                      ? str_rfind(str_sub(data, 0, l->max_bytes - l->bytes), '\n')
                                                      : -1;

                        if (end < 0) {
                                rotate(l);
                                continue;
                        }
                        n = (size_t) end + 1;
                } else if (l->path && n > l->max_bytes) {
                        ssize_t end = str_find(data, '\n');

                        n = end < 0 ? n : (size_t) end + 1;
                }
                ssize_t done = write(l->fd, data.p, n);
                if (done < 0 && errno == EINTR)
                        continue;
                if (done < 0) {
                        log_error("audit log: %s", strerrordesc_np(errno));
                        audit_lost("log", 1);
                        return false;
                }
                l->bytes += (size_t) done;
                data = str_sub(data, (size_t) done, data.n);
        }
        return data.n == 0;
}

/* As many lines as a batch may have. */
static struct str next_batch(const struct audit_log *l, struct str data) {
        const char *p = data.p, *end = data.p + data.n;

        for (int64_t i = 0; p < end && i < l->plugin.max_size; i++)
                p = (const char *) memchr(p, '\n', (size_t) (end - p)) + 1;
        return str_sub(data, 0, (size_t) (p - data.p));
}

/* All at once, or in batches of which only some may go in a second. */
static void write_batches(struct audit_log *l, struct str data) {
        if (l->plugin.qps <= 0)
                write_out(l, data);
        while (l->plugin.qps > 0 && data.n > 0) {
                int64_t ms = audit_take_token(&l->plugin);
                struct str batch = ms == 0 ? next_batch(l, data) : STR("");

                if (ms > 0)
                        usleep((useconds_t) ms * 1000);
                write_out(l, batch);
                data = str_sub(data, batch.n, data.n);
        }
}

static void *writer(void *arg) {
        struct audit_log *l = arg;

        log_set_component("audit");
        pthread_mutex_lock(&l->lock);
        for (;;) {
                while (l->waiting.n == 0 && !l->closing)
                        pthread_cond_wait(&l->more, &l->lock);
                if (l->waiting.n == 0)
                        break;
                _cleanup_buf_ struct buf b = l->waiting;
                l->waiting = BUF_INIT;
                l->n_waiting = 0;
                pthread_mutex_unlock(&l->lock);
                write_batches(l, buf_str(&b));
                pthread_mutex_lock(&l->lock);
        }
        pthread_mutex_unlock(&l->lock);
        return NULL;
}

bool audit_log_write(struct audit_log *l, struct str line) {
        bool done = false;
        HOLD(&l->lock);

        if (l->plugin.mode != AUDIT_BATCH) {
                done = write_out(l, line);
        } else if (l->waiting.n + line.n <= MAX_WAITING && l->n_waiting < l->plugin.buffer_size) {
                done = true;
                l->n_waiting++;
                buf_add_str(&l->waiting, line);
                pthread_cond_signal(&l->more);
        } else {
                audit_lost("buffered", 1);
        }
        return done;
}

static int open_new(struct audit_log *l, struct error *err) {
        struct str dir, prefix, suffix;

        name_parts(l->path, &dir, &prefix, &suffix);
        _cleanup_free_ char *where = str_dup(dir);
        TRY(file_mkdirs(where, 0700, err));
        int r = open_file(l);
        if (r < 0)
                return error_errno(err, r, "open %s", l->path);
        start_mill(l);
        return 0;
}

int audit_log_open(const struct audit_options *o, struct audit_log **ret, struct error *err) {
        struct audit_log *l = xcalloc(1, sizeof(*l));
        bool to_stdout = strcmp(o->log_path, "-") == 0;

        l->path = to_stdout ? NULL : xstrdup(o->log_path);
        l->max_bytes = (size_t) (o->max_size_mb ? o->max_size_mb : 100) << 20;
        l->max_age_days = o->max_age_days;
        l->max_backups = o->max_backups;
        l->compress = o->compress;
        l->plugin = o->log;
        l->fd = STDOUT_FILENO;
        int r = to_stdout ? 0 : open_new(l, err);
        if (r < 0) {
                free(l->path);
                free(l);
                return error_prefix(err, "ensureLogFile");
        }
        pthread_mutex_init(&l->lock, NULL);
        pthread_cond_init(&l->more, NULL);
        if (l->plugin.mode == AUDIT_BATCH && pthread_create(&l->thread, NULL, writer, l) != 0)
                abort();
        *ret = l;
        return 0;
}

void audit_log_close(struct audit_log *l) {
        if (!l)
                return;
        with_lock(&l->lock) {
                l->closing = true;
                pthread_cond_signal(&l->more);
        }
        if (l->plugin.mode == AUDIT_BATCH)
                pthread_join(l->thread, NULL);
        wait_for_mill(l);
        if (l->path && l->fd >= 0)
                close(l->fd);
        pthread_mutex_destroy(&l->lock);
        pthread_cond_destroy(&l->more);
        buf_free(&l->waiting);
        free(l->path);
        free(l);
}
