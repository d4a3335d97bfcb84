/* Private to track*.c. */
#pragma once

#include "apiserver/flow/flow.h"
#include "apiserver/track.h"

struct track {
        struct exchange *x;
        struct list link; /* of pending.requests */
        struct http_request *req;
        int64_t started_ns, late_ms, wait_late_ms;
        int64_t asks_ns;   /* see track_asks_ns */
        uint64_t revision; /* that the store has to reach first; 0: none */
        int64_t fresh_late_ms, look_ms;
        int64_t elsewhere_ns; /* waited in a queue, or for webhooks */
        int64_t bytes;        /* of the answer; -1: not known */
        void (*proceed)(struct exchange *x);
        struct flow_ticket ticket;
        struct audit_event *audit;        /* NULL: not logged */
        const struct attributes *waiting; /* for the audit webhook */
        struct http_header headers[4], *warnings;
        size_t n_warnings;
        const char *verb;   /* as metrics call it */
        const char *writes; /* the same of one with a body; NULL: it has none that counts */
        int status;
        bool known, long_running, is_watch, answered;
        bool uncounted; /* refused before upstream's handlers, which count */
        char id[64];
};

/* ---- track_count.c ---- */

void track_count_running(const struct track *t, int n); /* so many more */
void track_count_queued(const struct track *t, int n);
void track_count_done(const struct track *t);
void track_count_abort(const struct track *t);
void track_count_termination(struct track *t, int status);
void track_count_nothing(void); /* of what is told from the start on */
/* "1.37", or empty. */
struct str track_removed_release(const struct rest *r);
