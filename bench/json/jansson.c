/* jansson, loaded at run time: linked in, its json_null() and ours would be one. */
#include <dlfcn.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "other.h"

static __typeof__(json_loadb) *loadb;
static __typeof__(json_dumps) *dumps;
static __typeof__(json_delete) *delete;

void jansson_load(void) {
        void *lib = dlopen("libjansson.so.4", RTLD_NOW | RTLD_LOCAL);

        if (!lib) {
                fprintf(stderr, "bench_json: %s\n", dlerror());
                exit(1);
        }
        loadb = (__typeof__(loadb)) dlsym(lib, "json_loadb");
        dumps = (__typeof__(dumps)) dlsym(lib, "json_dumps");
        delete = (__typeof__(delete)) dlsym(lib, "json_delete");
}

void *jansson_tree(const char *text, size_t n) {
        return loadb(text, n, 0, NULL);
}

char *jansson_text(void *tree) {
        return dumps(tree, JSON_COMPACT);
}

void jansson_free(void *tree) {
        json_t *j = tree;

        if (j->refcount != (size_t) -1 && --j->refcount == 0)
                delete (j);
}
