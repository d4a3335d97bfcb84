/* The scheduler: gives every pending pod a node. A client of the API like any other; one thread. */
#pragma once

#include "client/client.h"

struct scheduler;
struct scheduler_options {
        struct client *client;
        const char *name;          /* pods with this spec.schedulerName; NULL: "default-scheduler" */
        const struct clock *clock; /* NULL: system_clock */
};
int scheduler_start(const struct scheduler_options *o, struct scheduler **ret, struct error *err);
void scheduler_stop(struct scheduler *s); /* and frees it */
