/* Leader election on a Lease, as client-go does it: for roles that run more than once. */
#pragma once

#include "client/client.h"

struct leader_election;
struct leader_options {
        struct loop *loop;
        const char *namespace, *name, *identity;
        int lease_seconds, renew_seconds, retry_seconds; /* 0: 15, 10, 2 */
        void (*started)(void *arg);                      /* on loop */
        void (*stopped)(void *arg);                      /* on loop: lost; the process normally exits */
        void *arg;
};
struct leader_election *leader_election_start(struct client *c, const struct leader_options *o);
void leader_election_stop(struct leader_election *l); /* releases the lease */
