#include "base/lazy.h"

#include <dlfcn.h>

#include "base/log.h"

void *lazy_find(const char *file, const char *package, const char *function) {
        void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL), *at = library ? dlsym(library, function) : NULL;

        if (!at) {
                log_error("%s: apt-get install %s", dlerror(), package);
                abort();
        }
        return at; /* the library stays open */
}
