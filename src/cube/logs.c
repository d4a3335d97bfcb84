/* `cube logs`: the server's log, from its end on with -f. */
#include <fcntl.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "cube/cube.h"

static int copy(int fd, struct error *err) {
        char buf[65536];
        for (ssize_t n; (n = read(fd, buf, sizeof(buf))) != 0;) {
                if (n < 0)
                        return error_errno(err, -errno, "read the log");
                if (write(1, buf, (size_t) n) < 0)
                        return -EPIPE; /* the reader has seen enough */
        }
        return 0;
}

static int logs(struct flags *f, int argc, char **argv, struct error *err) {
        _cleanup_cluster_ struct cluster c = { 0 };
        TRY(cluster_load(f, &c, err));
        _cleanup_free_ char *path = cluster_path(&c, "cube.log");
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC), watch = inotify_init1(IN_CLOEXEC);
        if (fd < 0 && errno == ENOENT)
                return error_set(err, -ENOENT,
                                 "%s has no log yet: it was never started, or runs under systemd (journalctl -u cube)",
                                 c.name);
        if (fd < 0 || watch < 0 || inotify_add_watch(watch, path, IN_MODIFY) < 0)
                return error_errno(err, -errno, "open %s", path);
        int r;
        do {
                char event[4096];
                r = copy(fd, err);
                if (r == 0 && f->follow && read(watch, event, sizeof(event)) < 0 && errno != EINTR)
                        r = error_errno(err, -errno, "watch %s", path);
        } while (r == 0 && f->follow);
        return r == -EPIPE ? 0 : r;
}

static const struct flag logs_flags[] = {
        { "follow", FLAG_BOOL, offsetof(struct flags, follow), NULL, "go on as the log grows (-f)" },
        { NULL },
};
const struct command cmd_logs = {
        .name = "logs", .summary = "Prints the server's log", .run = logs, .flags = logs_flags, .root = true
};
