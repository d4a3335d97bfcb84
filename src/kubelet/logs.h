/* Container logs as conmon writes them, in the format of the CRI:
 *
 *   2026-01-02T03:04:05.123456789+00:00 stdout F a whole line
 *   2026-01-02T03:04:05.123456789+00:00 stderr P part of a long one
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"

struct log_line {
        struct str time, stream, text; /* text: with its newline when the line is whole */
        bool partial;
};
/* One line of the file (without its newline). False when it is not of the format. */
bool log_parse(struct str line, struct log_line *ret);

/* What the container wrote last, without times: at most n lines and bytes. For termination messages. */
void log_tail_plain(const char *path, size_t lines, size_t bytes, struct buf *dst);

/* The offset in fd at which the last n lines begin. -1: an I/O error (errno). */
int64_t log_tail_offset(int fd, int64_t lines);

/* Of a container's runs, whose logs are 0.log, 1.log … in dir: the newest before that number. -1: there is none. */
int64_t log_newest(const char *dir, int64_t before);
