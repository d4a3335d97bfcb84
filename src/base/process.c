/* posix_spawn (a vfork underneath: its cost does not grow with our memory), one poll over both outputs and a pidfd.
 * Input comes from a memfd, so that nobody can block on a pipe that the other side does not read. */
#include "base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/time.h"

#define MAX_OUTPUT (1024 * 1024)

extern char **environ;

void process_result_free(struct process_result *r) {
        buf_free(&r->out);
        buf_free(&r->err);
}

static int open_input(struct str data, int *ret) {
        int fd;

        if (str_empty(data)) {
                fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
                if (fd < 0)
                        return -errno;
                *ret = fd;
                return 0;
        }
        fd = memfd_create("stdin", MFD_CLOEXEC);
        if (fd < 0)
                return -errno;
        while (data.n) {
                ssize_t r = write(fd, data.p, data.n);

                if (r < 0 && errno == EINTR)
                        continue;
                if (r < 0) {
                        r = -errno;
                        close(fd);
                        return (int) r;
                }
                data = str_sub(data, (size_t) r, data.n);
        }
        lseek(fd, 0, SEEK_SET);
        *ret = fd;
        return 0;
}

/* fds become 0, 1 and 2 of the child; it leads its own process group and starts with default signals. */
static int spawn(char *const argv[], const int fds[static 3], pid_t *ret) {
        posix_spawn_file_actions_t actions;
        posix_spawnattr_t attr;
        sigset_t none, all;
        int r = 0;

        sigemptyset(&none);
        sigfillset(&all);
        posix_spawn_file_actions_init(&actions);
        posix_spawnattr_init(&attr);
        for (int i = 0; i < 3 && r == 0; i++)
                r = posix_spawn_file_actions_adddup2(&actions, fds[i], i);
        if (r == 0)
                r = posix_spawn_file_actions_addclosefrom_np(&actions, 3);
        posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
        posix_spawnattr_setpgroup(&attr, 0);
        posix_spawnattr_setsigmask(&attr, &none);
        posix_spawnattr_setsigdefault(&attr, &all);
        if (r == 0)
                r = posix_spawnp(ret, argv[0], &actions, &attr, argv, environ);
        posix_spawnattr_destroy(&attr);
        posix_spawn_file_actions_destroy(&actions);
        return -r;
}

/* Reads what is there. Returns false at the end of the stream. */
static bool drain(int fd, struct buf *dst) {
        for (;;) {
                char chunk[16384];
                ssize_t n = read(fd, chunk, sizeof(chunk));

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return errno == EAGAIN;
                if (n == 0)
                        return false;
                buf_add(dst, chunk, MIN((size_t) n, MAX_OUTPUT - dst->n));
        }
}

/* Until the process ends; -ETIMEDOUT at the deadline (ms, 0: none). A child it left behind may keep the pipes open:
 * nobody waits for that. */
static int collect(int pidfd, const int pipes[static 2], int64_t deadline, struct process_result *result) {
        struct pollfd p[3] = {
                { .fd = pipes[0], .events = POLLIN },
                { .fd = pipes[1], .events = POLLIN },
                { .fd = pidfd, .events = POLLIN },
        };
        struct buf *bufs[2] = { &result->out, &result->err };

        for (;;) {
                int64_t left = deadline ? deadline - now_mono_ms() : -1;
                bool ended;
                int r;

                if (deadline && left <= 0)
                        return -ETIMEDOUT;
                r = poll(p, 3, deadline ? (int) MIN(left, (int64_t) INT32_MAX) : -1);
                if (r < 0 && errno != EINTR)
                        return -errno;
                if (r <= 0)
                        continue;
                ended = p[2].revents; /* before the last look into the pipes */
                for (int i = 0; i < 2; i++)
                        if (p[i].fd >= 0 && (p[i].revents || ended) && !drain(p[i].fd, bufs[i]))
                                p[i].fd = -1;
                if (ended)
                        return 0;
        }
}

static int wait_status(pid_t pid, int *ret_code) {
        int status;

        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return -errno;
        *ret_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
        return 0;
}

static int open_pipe(int *ret_read, int *ret_write) {
        int p[2];

        if (pipe2(p, O_CLOEXEC) < 0)
                return -errno;
        fcntl(p[0], F_SETFL, O_NONBLOCK);
        *ret_read = p[0];
        *ret_write = p[1];
        return 0;
}

int process_run(char *const argv[], struct str stdin_data, int timeout_ms, struct process_result *ret,
                struct error *err) {
        _cleanup_close_ int in = -1, out_read = -1, out_write = -1, err_read = -1, err_write = -1, pidfd = -1;
        _cleanup_(process_result_free) struct process_result result = { 0 };
        int64_t deadline = timeout_ms > 0 ? now_mono_ms() + timeout_ms : 0;
        pid_t pid = -1;
        int r;

        r = open_input(stdin_data, &in);
        if (r >= 0)
                r = open_pipe(&out_read, &out_write);
        if (r >= 0)
                r = open_pipe(&err_read, &err_write);
        if (r >= 0)
                r = spawn(argv, (int[]) { in, out_write, err_write }, &pid);
        if (r < 0)
                return error_errno(err, r, "run %s", argv[0]);
        close(TAKE_FD(out_write));
        close(TAKE_FD(err_write));
        pidfd = (int) syscall(SYS_pidfd_open, pid, 0);
        r = pidfd < 0 ? -errno : collect(pidfd, (int[]) { out_read, err_read }, deadline, &result);
        if (r < 0) {
                kill(-pid, SIGKILL);
                kill(pid, SIGKILL); /* it may have left its group */
        }
        result.timed_out = r == -ETIMEDOUT;
        if (r >= 0 || result.timed_out)
                r = wait_status(pid, &result.exit_code);
        else
                wait_status(pid, &result.exit_code);
        if (r < 0)
                return error_errno(err, r, "wait for %s", argv[0]);
        *ret = result;
        result = (struct process_result) { 0 };
        return 0;
}

int process_check(char *const argv[], struct str stdin_data, int timeout_ms, struct error *err) {
        _cleanup_(process_result_free) struct process_result result = { 0 };
        struct str rest, line = STR("");
        int r;

        r = process_run(argv, stdin_data, timeout_ms, &result, err);
        if (r < 0)
                return r;
        if (result.timed_out)
                return error_set(err, -ETIMEDOUT, "%s: no end after %d ms, killed", argv[0], timeout_ms);
        if (result.exit_code == 0)
                return 0;
        rest = str_trim(buf_str(&result.err));
        str_split(&rest, '\n', &line);
        if (str_empty(line))
                return error_set(err, -EIO, "%s: exit code %d", argv[0], result.exit_code);
        return error_set(err, -EIO, "%s: exit code %d: %" STR_FMT, argv[0], result.exit_code, STR_ARG(line));
}
