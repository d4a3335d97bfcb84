/* The reporting end of the step pipe. */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cube/step.h"

static int step_fd = -1;

void step_open(int fd) {
        step_fd = fd;
        if (fd >= 0)
                fcntl(fd, F_SETFD, FD_CLOEXEC);
}

static void send_line(const char *line, size_t n) {
        /* A line is shorter than PIPE_BUF, so it arrives whole. Nobody listening any more is fine. */
        if (step_fd >= 0 && write(step_fd, line, n) < 0)
                step_fd = -1;
}

void step_report(const char *fmt, ...) {
        char line[512] = "step ";
        int n = variadic(ap, fmt, vsnprintf(line + 5, sizeof(line) - 6, fmt, ap));
        size_t len = 5 + MIN((size_t) n, sizeof(line) - 7);
        line[len++] = '\n';
        send_line(line, len);
}

void step_ready(void) {
        send_line("ready\n", 6);
}

void step_fatal(const char *text) {
        char line[2048];
        size_t n = (size_t) snprintf(line, sizeof(line) - 1, "fatal %s", text);
        n = MIN(n, sizeof(line) - 2);
        for (size_t i = 0; i < n; i++)
                line[i] = line[i] == '\n' ? ' ' : line[i];
        line[n++] = '\n';
        send_line(line, n);
}
