/* `cube supervise` (hidden): the small process that stays when the server does not. It holds the cluster's lock, starts
 * the server again when it dies, reaps what conmon leaves, and is PID 1 of an isolated node. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/time.h"
#include "cube/cube.h"
#include "cube/step.h"

#define LOCK_FD 3 /* as start.c passes them */
#define STEP_FD 4
#define GO_FD 5
#define GOOD_AFTER_MS 10000

static int spawn_server(const struct cluster *c, struct error *err) {
        pid_t pid = fork();
        if (pid < 0)
                return error_errno(err, -errno, "fork");
        if (pid > 0)
                return pid;
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        char fd[16];
        fcntl(STEP_FD, F_SETFD, 0);
        snprintf(fd, sizeof(fd), "%d", STEP_FD);
        setenv("CUBE_STEP_FD", fd, 1);
        execl("/proc/self/exe", "cube", "server", "--name", c->name, "--data-dir", c->data_dir, (char *) NULL);
        _exit(127);
}

/* Waits for the server to end while reaping everything else, and passes a request to stop on. *ret_stopped: it was
 * asked to. */
static int wait_server(pid_t server, const sigset_t *set, bool *ret_stopped) {
        for (;;) {
                int status, sig = sigwaitinfo(set, NULL);
                if (sig == SIGTERM || sig == SIGINT) {
                        *ret_stopped = true;
                        kill(server, SIGTERM);
                        continue;
                }
                for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
                        if (pid == server)
                                return status;
        }
}

/* PID 1 takes the rest of the node with it: gently first. */
static void end_everything(void) {
        kill(-1, SIGTERM);
        for (int i = 0; i < 100; i++) {
                pid_t pid = waitpid(-1, NULL, WNOHANG);
                if (pid < 0)
                        return;
                if (pid == 0)
                        usleep(20000);
        }
}

static int supervise(struct flags *f, int argc, char **argv, struct error *err) {
        _cleanup_cluster_ struct cluster c = { 0 };
        step_open(STEP_FD);
        log_set_component("supervise");
        int r = cluster_load(f, &c, err);
        if (r == 0 && c.isolated) {
                char go;
                r = isolate_inside_setup(&c, err);
                if (r == 0 && read(GO_FD, &go, 1) != 1) /* the host's side of the network is there */
                        r = error_set(err, -ECANCELED, "cube start went away");
                if (r == 0)
                        r = isolate_inside_network(&c, err);
        }
        close(GO_FD);
        if (r < 0) {
                step_fatal(error_text(err));
                return r;
        }
        fcntl(LOCK_FD, F_SETFD, FD_CLOEXEC); /* the lock is this process's alone: what it starts may outlive it */
        prctl(PR_SET_CHILD_SUBREAPER, 1);
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGCHLD);
        sigprocmask(SIG_BLOCK, &set, NULL);

        bool stopped = false;
        for (unsigned backoff_ms = 100; !stopped;) {
                int64_t begun = now_mono_ms();
                r = spawn_server(&c, err);
                if (r < 0)
                        break;
                int status = wait_server(r, &set, &stopped);
                if (stopped || (WIFEXITED(status) && WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != 127)) {
                        r = stopped ? 0
                                    : error_set(err, -EIO, "the server could not start: see %s/cube.log", c.data_dir);
                        break;
                }
                if (now_mono_ms() - begun > GOOD_AFTER_MS)
                        backoff_ms = 100;
                log_warn("the server ended (%s %d); starting it again in %u ms",
                         WIFSIGNALED(status) ? "signal" : "exit code",
                         WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), backoff_ms);
                struct timespec pause = { backoff_ms / 1000, (long) (backoff_ms % 1000) * 1000000 };
                sigset_t term = set;
                sigdelset(&term, SIGCHLD);
                stopped = sigtimedwait(&term, NULL, &pause) > 0;
                backoff_ms = MIN(backoff_ms * 2, 5000u);
        }
        if (c.isolated)
                end_everything();
        return r;
}

const struct command cmd_supervise = {
        .name = "supervise", .summary = "Keeps a server running", .run = supervise, .hidden = true, .root = true
};
