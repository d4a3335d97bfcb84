/* `cube image`: the node's images. A running server does it (control.c), since it has the store open; otherwise this
 * process. */
#include <unistd.h>

#include "base/time.h"
#include "cube/control.h"
#include "cube/node.h"

struct io {
        int in;
        FILE *out;
};

struct image_command {
        const char *name, *args;
        int min_args, max_args;
        int (*run)(struct runtime *r, int argc, char **argv, const struct io *io, struct error *err);
};

static int load(struct runtime *r, int argc, char **argv, const struct io *io, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        for (int i = 0; i < argc; i++) {
                struct str *refs;
                size_t n;
                _cleanup_free_ char *in = xprintf("/proc/self/fd/%d", io->in);
                TRY(runtime_image_load(r, a, strcmp(argv[i], "-") == 0 ? in : argv[i], &refs, &n, err));
                for (size_t k = 0; k < n; k++)
                        fprintf(io->out, "Loaded %" STR_FMT "\n", STR_ARG(refs[k]));
        }
        return 0;
}

static void pull_progress(const char *line, void *arg) {
        const struct io *io = arg;
        if (isatty(fileno(io->out))) {
                fprintf(io->out, "%s\n", line);
                fflush(io->out);
        }
}

static int pull(struct runtime *r, int argc, char **argv, const struct io *io, struct error *err) {
        for (int i = 0; i < argc; i++) {
                _cleanup_(arena_freep) struct arena *a = arena_new(0);
                _cleanup_free_ char *id = NULL;
                struct str ref;
                TRY(image_normalize(a, str_of(argv[i]), &ref, err));
                TRY(runtime_image_pull(r, ref, NULL, pull_progress, (void *) io, &id, err));
                fprintf(io->out, "Pulled %" STR_FMT "\n", STR_ARG(ref));
        }
        return 0;
}

static void print_size(char dst[static 16], uint64_t bytes) {
        static const char *const units[] = { "B", "KB", "MB", "GB", "TB" };
        double v = (double) bytes;
        size_t u = 0;
        for (; v >= 1000 && u < ARRAY_SIZE(units) - 1; u++)
                v /= 1000;
        snprintf(dst, 16, u ? "%.1f%s" : "%.0f%s", v, units[u]);
}

static int list(struct runtime *r, int argc, char **argv, const struct io *io, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct image_status *images;
        size_t n;
        TRY(runtime_image_list(r, a, &images, &n, err));
        if (n)
                fprintf(io->out, "%-56s %-16s %-8s %s\n", "IMAGE", "ID", "SIZE", "CREATED");
        for (size_t i = 0; i < n; i++) {
                char size[16], age[36];
                print_size(size, images[i].size);
                struct str id = str_of(images[i].id), human = duration_human(age, now_wall_ns() - images[i].created_ns);
                if (str_has_prefix(id, STR("sha256:")))
                        id = str_sub(id, 7, 7 + 12);
                char **tag = images[i].tags;
                do
                        fprintf(io->out, "%-56s %-16" STR_FMT " %-8s %" STR_FMT " ago\n", tag && *tag ? *tag : "<none>",
                                STR_ARG(id), size, STR_ARG(human));
                while (tag && *tag && *++tag);
        }
        return 0;
}

static int rm(struct runtime *r, int argc, char **argv, const struct io *io, struct error *err) {
        for (int i = 0; i < argc; i++) {
                TRY(runtime_image_remove(r, str_of(argv[i]), err));
                fprintf(io->out, "Removed %s\n", argv[i]);
        }
        return 0;
}

static int import(struct runtime *r, int argc, char **argv, const struct io *io, struct error *err) {
        int e = runtime_image_import(r, argv[0], str_of(argv[1]), NULL, err);
        if (e == 0)
                fprintf(io->out, "Imported %s\n", argv[1]);
        return e;
}

static int save(struct runtime *r, int argc, char **argv, const struct io *io, struct error *err) {
        struct str refs[64];
        if (argc - 1 > (int) ARRAY_SIZE(refs))
                return error_set(err, -E2BIG, "at most %zu images go into one archive", ARRAY_SIZE(refs));
        for (int i = 1; i < argc; i++)
                refs[i - 1] = str_of(argv[i]);
        int e = runtime_image_save(r, refs, (size_t) argc - 1, argv[0], err);
        if (e == 0)
                fprintf(io->out, "Saved %s\n", argv[0]);
        return e;
}

static int tag(struct runtime *r, int argc, char **argv, const struct io *io, struct error *err) {
        return runtime_image_tag(r, str_of(argv[0]), str_of(argv[1]), err);
}

static const struct image_command image_commands[] = {
        { "load", "ARCHIVE...", 1, -1, load },
        { "pull", "IMAGE...", 1, -1, pull },
        { "ls", "", 0, 0, list },
        { "rm", "IMAGE...", 1, -1, rm },
        { "import", "ROOTFS IMAGE", 2, 2, import },
        { "save", "ARCHIVE IMAGE...", 2, -1, save },
        { "tag", "IMAGE NEW", 2, 2, tag },
};

static int find_command(int argc, char **argv, const struct image_command **ret, struct error *err) {
        for (size_t i = 0; i < ARRAY_SIZE(image_commands); i++) {
                const struct image_command *c = &image_commands[i];
                if (strcmp(c->name, argv[0]) != 0)
                        continue;
                if (argc - 1 < c->min_args || (c->max_args >= 0 && argc - 1 > c->max_args))
                        return error_set(err, -EINVAL, "usage: cube image %s %s", c->name, c->args);
                *ret = c;
                return 0;
        }
        return error_set(err, -EINVAL, "cube image %s is not a command: load, pull, ls, rm, import, save and tag are",
                         argv[0]);
}

int image_run(struct runtime *r, int argc, char **argv, int in_fd, FILE *out, struct error *err) {
        const struct image_command *c;
        struct io io = { in_fd, out };
        TRY(find_command(argc, argv, &c, err));
        return c->run(r, argc - 1, argv + 1, &io, err);
}

/* The server's working directory is another: what names a file is made absolute. */
static int absolute_paths(int argc, char **argv, struct error *err) {
        static const char *const takes_files[] = { "load", "import", "save" };
        for (size_t i = 0; i < ARRAY_SIZE(takes_files); i++) {
                if (strcmp(argv[0], takes_files[i]) != 0)
                        continue;
                int last = strcmp(argv[0], "load") == 0 ? argc - 1 : 1;
                for (int k = 1; k <= last; k++) {
                        char cwd[4096];
                        if (argv[k][0] == '/' || strcmp(argv[k], "-") == 0)
                                continue;
                        if (!getcwd(cwd, sizeof(cwd)))
                                return error_errno(err, -errno, "find the working directory");
                        argv[k] = xprintf("%s/%s", cwd, argv[k]); /* kept until the process ends */
                }
        }
        return 0;
}

static int image(struct flags *f, int argc, char **argv, struct error *err) {
        const struct image_command *cmd;
        _cleanup_cluster_ struct cluster c = { 0 };
        _cleanup_close_ int lock = -1;
        struct runtime *rt;
        TRY(find_command(argc, argv, &cmd, err));
        TRY(cluster_load(f, &c, err));
        TRY(absolute_paths(argc, argv, err));
        if (cluster_pid(&c) > 0)
                return cluster_paused(&c) ? error_set(err, -EBUSY, "%s is paused: cube unpause wakes it", c.name)
                                          : control_ask(&c, argc, argv, err);
        TRY(cluster_lock(&c, &lock, err)); /* no server may start while this process has the store open */
        TRY(node_runtime_new(&c, NULL, &rt, err));
        int r = image_run(rt, argc, argv, 0, stdout, err);
        runtime_free(rt);
        return r;
}

const struct command cmd_image = { .name = "image",
                                   .args = "load|pull|ls|rm|import|save|tag ...",
                                   .summary = "Manages the node's images",
                                   .run = image,
                                   .min_args = 1,
                                   .max_args = -1,
                                   .root = true };
