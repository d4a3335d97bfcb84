/* The ground of the network's tests: a network namespace of the test's own, and an API in it. */
#pragma once

#include "../test.h"

#include <unistd.h>

#include "apiserver/apiserver.h"
#include "base/time.h"
#include "client/client.h"
#include "schema/types.h"

/* Puts the whole test program into a new network namespace (with lo up): nothing it does is seen outside, and it goes
 * when the program ends. false: not allowed here; main() then says so with exit code 77. */
bool ground_enter(void);

/* Runs a shell command, which must succeed; its output is valid until the next few calls. */
const char *shell(const char *fmt, ...) _printf_(1, 2);
/* The same, returning the exit code. */
int shell_code(const char *fmt, ...) _printf_(1, 2);

/* Pods' namespaces: `ip netns` names that belong to this process. netns_path is where it is pinned. */
void netns_add(const char *name);
void netns_delete(const char *name);
const char *netns_path(const char *name);

/* A namespace "outside" at 192.0.2.2, by out0 (mtu 1400) of the test's own, which is 192.0.2.1 there and has its
 * default route so. */
void outside_add(void);
void outside_delete(void);

/* Answers TCP (SOCK_STREAM) or UDP (SOCK_DGRAM) on a port of all addresses of a namespace (NULL: the test's own) with
 * "<netns> <address it came from>"; "node" for the test's own. Until serve_end(). */
void serve(const char *netns, int type, uint16_t port);
void serve_end(void);
/* Asks it: the answer, or "refused", "timeout" (after 1.5 s), "unreachable". Valid until the next few calls. */
const char *ask_from(const char *netns, int type, const char *ip, uint16_t port);
/* A socket in that namespace. */
int socket_in(const char *netns, int type);

/* A real API server over a store in memory, in this process. */
struct ground_api {
        struct store *store;
        struct apiserver *server;
        struct client *client;
};
void ground_api_start(struct ground_api *g);
void ground_api_stop(struct ground_api *g);
/* Creates it, or replaces what is there. Single quotes stand for double ones. */
void ground_put(struct ground_api *g, const struct api_resource *res, const char *ns, const char *fmt, ...)
                _printf_(4, 5);
void ground_delete(struct ground_api *g, const struct api_resource *res, const char *ns, const char *name);

/* Asks again until it is true, or fails the test after 5 s. */
#define eventually(condition)                                                \
        do {                                                                 \
                int64_t _end = now_mono_ms() + 20000;                        \
                while (!(condition)) {                                       \
                        if (now_mono_ms() > _end) {                          \
                                print_error("never true: %s\n", #condition); \
                                _fail(__FILE__, __LINE__);                   \
                        }                                                    \
                        usleep(5000);                                        \
                }                                                            \
        } while (0)
