/* cgroups, both versions. A path ("/kubepods/burstable/pod…") is the same in every hierarchy:
 *
 *   v1, hybrid   /sys/fs/cgroup/{cpu,memory,pids,…}/kubepods/…      one directory each, knobs by controller
 *   v2           /sys/fs/cgroup/kubepods/…                           one directory, controllers enabled from above
 *
 * Which knob a resource turns is a table. */
#include <linux/magic.h>
#include <sys/vfs.h>

#include "base/file.h"
#include "base/time.h"
#include "runtime/oci/oci.h"

#define ROOT "/sys/fs/cgroup"

/* ---- what is mounted ---- */

/* The cgroup of this process in the hierarchy with these controllers (empty: v2) is "/". Lines:
 * "5:cpu,cpuacct:/user.slice". */
static bool in_root(struct str table, struct str controllers) {
        str_each(line, table, '\n') {
                struct str id, names;

                if (str_split(&line, ':', &id) && str_split(&line, ':', &names) && str_eq(names, controllers))
                        return str_eqc(line, "/");
        }
        return true;
}

static void add_tree(struct cgroups *g, struct str mount, struct str controllers, bool root) {
        for (size_t i = 0; i < g->n; i++)
                if (str_eqc(mount, g->trees[i].mount))
                        return;
        if (g->n == ARRAY_SIZE(g->trees))
                return;
        struct cgroup_tree *t = &g->trees[g->n++];
        t->mount = str_dup(mount);
        t->controllers = xprintf(",%" STR_FMT ",", STR_ARG(controllers));
        t->in_root = root;
}

/* A v1 hierarchy's super options: "rw,cpu,cpuacct" or "rw,xattr,name=systemd". */
static struct str v1_controllers(struct arena *a, struct str options) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        str_each(o, options, ',')
                if (!str_eqc(o, "rw") && !str_eqc(o, "ro") && !str_eqc(o, "xattr") && !str_eqc(o, "clone_children") &&
                    !str_eqc(o, "noprefix") && !str_has_prefix(o, STR("release_agent=")))
                        buf_printf(&b, "%s%" STR_FMT, b.n ? "," : "", STR_ARG(o));
        return arena_str(a, buf_str(&b));
}

static struct str v2_controllers(struct arena *a) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        (void) file_read(ROOT "/cgroup.controllers", 4096, &b, NULL);
        for (size_t i = 0; i < b.n; i++)
                b.p[i] = b.p[i] == ' ' ? ',' : b.p[i];
        return arena_str(a, str_trim(buf_str(&b)));
}

/* id parent major:minor root mount-point options [tags] - type source super-options */
static void read_mounts(struct cgroups *g, struct arena *a, struct str mountinfo, struct str table) {
        str_each(line, mountinfo, '\n') {
                struct str field[5], rest = line, type, source;
                ssize_t dash = str_search(line, STR(" - "));

                if (dash < 0)
                        continue;
                for (size_t i = 0; i < 5; i++)
                        if (!str_split(&rest, ' ', &field[i]))
                                field[i] = STR("");
                rest = str_sub(line, (size_t) dash + 3, line.n);
                if (!str_split(&rest, ' ', &type) || !str_split(&rest, ' ', &source) ||
                    !str_has_prefix(field[4], STR(ROOT)))
                        continue;
                if (str_eqc(type, "cgroup") && g->mode != CGROUP_V2) {
                        struct str controllers = v1_controllers(a, rest);

                        add_tree(g, field[4], controllers, in_root(table, controllers));
                } else if (str_eqc(type, "cgroup2") && g->mode == CGROUP_V2 && str_eqc(field[4], ROOT))
                        add_tree(g, field[4], v2_controllers(a), in_root(table, STR("")));
        }
}

int cgroups_detect(struct cgroups *g, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_buf_ struct buf mounts = BUF_INIT, own = BUF_INIT;
        struct statfs fs;

        *g = (struct cgroups) { 0 };
        if (statfs(ROOT, &fs) < 0)
                return error_errno(err, -errno, "cgroups: %s", ROOT);
        if (fs.f_type == CGROUP2_SUPER_MAGIC)
                g->mode = CGROUP_V2;
        else if (statfs(ROOT "/unified", &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC)
                g->mode = CGROUP_HYBRID;
        TRY(file_read("/proc/self/mountinfo", 0, &mounts, err));
        TRY(file_read("/proc/self/cgroup", 0, &own, err));
        read_mounts(g, a, buf_str(&mounts), buf_str(&own));
        if (g->n == 0)
                return error_set(err, -ENOENT, "cgroups are not mounted on " ROOT);
        return 0;
}

void cgroups_free(struct cgroups *g) {
        for (size_t i = 0; i < g->n; i++) {
                free(g->trees[i].mount);
                free(g->trees[i].controllers);
        }
        g->n = 0;
}

static const struct cgroup_tree *tree_of(const struct cgroups *g, const char *controller) {
        _cleanup_free_ char *key = xprintf(",%s,", controller);

        for (size_t i = 0; i < g->n; i++)
                if (strstr(g->trees[i].controllers, key))
                        return &g->trees[i];
        return NULL;
}

bool cgroup_has(const struct cgroups *g, const char *controller) {
        return tree_of(g, controller);
}

char *cgroup_dir(const struct cgroups *g, const char *controller, const char *path) {
        const struct cgroup_tree *t = g->mode == CGROUP_V2 ? &g->trees[0] : tree_of(g, controller);

        return t ? xprintf("%s%s", t->mount, path) : NULL;
}

/* ---- making and removing ---- */

static int write_knob(const char *dir, const char *knob, struct str value) {
        _cleanup_free_ char *path = xprintf("%s/%s", dir, knob);
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

        if (fd < 0)
                return -errno;
        return write(fd, value.p, value.n) < 0 ? -errno : 0;
}

static bool read_knob(const char *dir, const char *knob, struct buf *dst) {
        _cleanup_free_ char *path = xprintf("%s/%s", dir, knob);

        dst->n = 0;
        return file_read(path, 1 << 20, dst, NULL) >= 0;
}

/* A new cpuset has no CPUs and takes no process until it has: as its parent. */
static void inherit_cpuset(const char *dir) {
        static const char *const knobs[] = { "cpuset.cpus", "cpuset.mems" };
        _cleanup_free_ char *parent = xprintf("%s/..", dir);

        for (size_t i = 0; i < ARRAY_SIZE(knobs); i++) {
                _cleanup_buf_ struct buf mine = BUF_INIT, above = BUF_INIT;

                if (read_knob(dir, knobs[i], &mine) && str_empty(str_trim(buf_str(&mine))) &&
                    read_knob(parent, knobs[i], &above))
                        (void) write_knob(dir, knobs[i], str_trim(buf_str(&above)));
        }
}

/* v2: lets the children of dir be limited. Controllers that the kernel or our parent does not give are left out. */
static void enable_controllers(const char *dir) {
        _cleanup_buf_ struct buf have = BUF_INIT;

        if (!read_knob(dir, "cgroup.controllers", &have))
                return;
        str_each(name, str_trim(buf_str(&have)), ' ') {
                _cleanup_free_ char *add = xprintf("+%" STR_FMT, STR_ARG(name));

                (void) write_knob(dir, "cgroup.subtree_control", str_of(add));
        }
}

static int create_in(const struct cgroups *g, const struct cgroup_tree *t, const char *path, struct error *err) {
        _cleanup_free_ char *dir = xprintf("%s%s", t->mount, path);
        char *end = dir + strlen(t->mount);

        if (access(dir, F_OK) == 0)
                return 0;
        if (g->mode == CGROUP_V2)
                enable_controllers(t->mount);
        do {
                end += 1 + strcspn(end + 1, "/");
                char kept = *end;
                *end = 0;
                if (mkdir(dir, 0755) < 0 && errno != EEXIST)
                        return error_errno(err, -errno, "create cgroup %s", dir);
                if (g->mode == CGROUP_V2 && kept)
                        enable_controllers(dir);
                else if (strstr(t->controllers, ",cpuset,"))
                        inherit_cpuset(dir);
                *end = kept;
        } while (*end);
        return 0;
}

int cgroup_create(const struct cgroups *g, const char *path, struct error *err) {
        int r = 0;

        for (size_t i = 0; i < g->n && r >= 0; i++)
                r = create_in(g, &g->trees[i], path, err);
        return r;
}

/* Calls fn for dir and all below it, the deepest first. */
static void walk(const char *dir, void (*fn)(const char *dir)) {
        _cleanup_(closedirp) DIR *d = opendir(dir);
        struct dirent *e;

        if (!d)
                return;
        while ((e = readdir(d)))
                if (e->d_type == DT_DIR && e->d_name[0] != '.') {
                        _cleanup_free_ char *sub = xprintf("%s/%s", dir, e->d_name);

                        walk(sub, fn);
                }
        fn(dir);
}

static void kill_in(const char *dir) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        int64_t pid;

        if (!read_knob(dir, "cgroup.procs", &b))
                return;
        str_each(line, buf_str(&b), '\n')
                if (str_to_i64(line, &pid) >= 0 && pid > 1)
                        kill((pid_t) pid, SIGKILL);
}

void cgroup_kill(const struct cgroups *g, const char *path) {
        _cleanup_free_ char *dir = cgroup_dir(g, "pids", path);

        if (!*path)
                return;
        if (!dir)
                dir = cgroup_dir(g, "memory", path);
        if (!dir || (g->mode == CGROUP_V2 && write_knob(dir, "cgroup.kill", STR("1")) >= 0))
                return;
        walk(dir, kill_in);
}

static void remove_one(const char *dir) {
        /* The last process may still be on its way out. */
        for (int i = 0; rmdir(dir) < 0 && errno == EBUSY && i < 100; i++)
                usleep(1000);
}

void cgroup_remove(const struct cgroups *g, const char *path) {
        if (!*path || strcmp(path, "/") == 0)
                return;
        for (size_t i = 0; i < g->n; i++) {
                _cleanup_free_ char *dir = xprintf("%s%s", g->trees[i].mount, path);

                walk(dir, remove_one);
        }
}

/* ---- resources ---- */

/* cgroup v1's cpu.shares (2..262144) on v2's scale (1..10000), as the OCI runtimes do. */
static int64_t weight_of(int64_t shares) {
        if (shares <= 0)
                return 0;
        shares = MIN(MAX(shares, 2), 262144);
        return 1 + ((shares - 2) * 9999) / 262142;
}

struct knob {
        const char *resource, *controller, *v1, *v2;
};

static const struct knob knobs[] = {
        { "cpu_shares", "cpu", "cpu.shares", "cpu.weight" },
        { "cpu_period", "cpu", "cpu.cfs_period_us", NULL },
        { "cpu_quota", "cpu", "cpu.cfs_quota_us", "cpu.max" },
        { "memory", "memory", "memory.limit_in_bytes", "memory.max" },
        { "pids", "pids", "pids.max", "pids.max" },
        { "cpuset_cpus", "cpuset", "cpuset.cpus", "cpuset.cpus" },
        { "cpuset_mems", "cpuset", "cpuset.mems", "cpuset.mems" },
};

static struct str knob_value(const struct cgroups *g, struct arena *a, const struct knob *k,
                             const struct json *resources) {
        const struct json *v = json_getc(resources, k->resource);
        int64_t n = json_int(v);

        if (!v || (json_is(v, JSON_STRING) && v->len == 0))
                return (struct str) { 0 };
        if (json_is(v, JSON_STRING))
                return json_str(v);
        if (g->mode == CGROUP_V2 && strcmp(k->resource, "cpu_shares") == 0)
                return n ? arena_printf(a, "%lld", (long long) weight_of(n)) : (struct str) { 0 };
        if (g->mode == CGROUP_V2 && strcmp(k->resource, "cpu_quota") == 0) {
                int64_t period = json_int_or(json_getc(resources, "cpu_period"), 100000);

                return n > 0 ? arena_printf(a, "%lld %lld", (long long) n, (long long) period) : STR("max 100000");
        }
        if (n == 0)
                return (struct str) { 0 };
        if (n < 0)
                return g->mode == CGROUP_V2 || strcmp(k->resource, "pids") == 0 ? STR("max") : STR("-1");
        return arena_printf(a, "%lld", (long long) n);
}

int cgroup_apply(const struct cgroups *g, const char *path, const struct json *resources, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);

        for (size_t i = 0; i < ARRAY_SIZE(knobs); i++) {
                const char *knob = g->mode == CGROUP_V2 ? knobs[i].v2 : knobs[i].v1;
                struct str value = knob_value(g, a, &knobs[i], resources);
                _cleanup_free_ char *dir = cgroup_dir(g, knobs[i].controller, path);

                if (!knob || str_empty(value) || !dir || !cgroup_has(g, knobs[i].controller))
                        continue;
                int r = write_knob(dir, knob, value);
                if (r < 0)
                        return error_errno(err, r, "write %" STR_FMT " to %s/%s", STR_ARG(value), dir, knob);
        }
        return 0;
}

/* ---- looking ---- */

/* "name value" lines. */
static bool stat_line(struct str text, const char *name, uint64_t *ret) {
        struct str key;

        str_each(line, text, '\n')
                if (str_split(&line, ' ', &key) && str_eqc(key, name))
                        return str_to_u64(str_trim(line), ret) >= 0;
        return false;
}

static bool single(const char *dir, const char *knob, uint64_t *ret) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        return read_knob(dir, knob, &b) && str_to_u64(str_trim(buf_str(&b)), ret) >= 0;
}

bool cgroup_oom_killed(const struct cgroups *g, const char *path) {
        _cleanup_free_ char *dir = cgroup_dir(g, "memory", path);
        _cleanup_buf_ struct buf b = BUF_INIT;
        uint64_t n = 0;

        if (!dir || !read_knob(dir, g->mode == CGROUP_V2 ? "memory.events" : "memory.oom_control", &b))
                return false;
        return stat_line(buf_str(&b), "oom_kill", &n) && n > 0;
}

static void memory_usage(const struct cgroups *g, const char *path, struct runtime_usage *u) {
        bool v2 = g->mode == CGROUP_V2;
        _cleanup_free_ char *dir = cgroup_dir(g, "memory", path);
        _cleanup_buf_ struct buf b = BUF_INIT;
        uint64_t inactive = 0;

        if (!dir)
                return;
        single(dir, v2 ? "memory.current" : "memory.usage_in_bytes", &u->memory_bytes);
        if (read_knob(dir, "memory.stat", &b)) {
                struct str text = buf_str(&b);

                stat_line(text, v2 ? "inactive_file" : "total_inactive_file", &inactive);
                stat_line(text, v2 ? "anon" : "total_rss", &u->memory_rss);
                stat_line(text, v2 ? "pgfault" : "total_pgfault", &u->memory_page_faults);
                stat_line(text, v2 ? "pgmajfault" : "total_pgmajfault", &u->memory_major_page_faults);
        }
        u->memory_working_set = u->memory_bytes > inactive ? u->memory_bytes - inactive : 0;
}

void cgroup_usage(const struct cgroups *g, const char *path, struct runtime_usage *ret) {
        _cleanup_free_ char *cpu = cgroup_dir(g, "cpuacct", path), *pids = cgroup_dir(g, "pids", path);
        _cleanup_buf_ struct buf b = BUF_INIT;
        uint64_t usec;

        ret->time_ns = now_wall_ns();
        if (cpu && g->mode != CGROUP_V2)
                single(cpu, "cpuacct.usage", &ret->cpu_ns);
        else if (cpu && read_knob(cpu, "cpu.stat", &b) && stat_line(buf_str(&b), "usage_usec", &usec))
                ret->cpu_ns = usec * 1000;
        memory_usage(g, path, ret);
        if (pids)
                single(pids, "pids.current", &ret->pids);
}
