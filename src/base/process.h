/* Runs a program to its end, with its output collected. Blocking; for the event loop use uv_spawn. */
#pragma once

#include "base/buf.h"
#include "base/error.h"

struct process_result {
        int exit_code; /* 0..255; 128 + signal when killed */
        bool timed_out;
        struct buf out, err; /* at most 1 MiB each, the rest is dropped */
};
void process_result_free(struct process_result *r);

/* argv ends with NULL; argv[0] is looked up in PATH. stdin_data may be empty. timeout_ms 0: none; at the timeout the
 * process group is killed. Returns 0 when the program ran (look at exit_code). Descriptors are not inherited. */
int process_run(char *const argv[], struct str stdin_data, int timeout_ms, struct process_result *ret,
                struct error *err);
/* The same, and an exit code other than 0 is an error that quotes the first line of stderr. */
int process_check(char *const argv[], struct str stdin_data, int timeout_ms, struct error *err);
