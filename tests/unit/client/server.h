/* A real API server over a store in memory, on a port of loopback, with a kubeconfig for it. */
#pragma once

#include "apiserver/apiserver.h"

struct test_server {
        struct store *store;
        struct apiserver *api;
        char dir[64];
        char *kubeconfig; /* path */
};

void test_server_start(struct test_server *t); /* aborts when it cannot */
void test_server_stop(struct test_server *t);
