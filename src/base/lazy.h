/* Libraries that are opened by the first call into them. What few commands need (libarchive and libcurl to handle
 * images; they bring thirty more) would cost each process 10 ms at its start and 6 MB for good.
 *
 *   LAZY(archive_read_new, ARCHIVE)  defines archive_read_new(): finds the library's function, once, and calls it.
 *
 * The callers include the library's own header and are checked against it; the file with the stubs does not. A stub
 * hands on up to six integers or pointers and returns one, which the calling conventions of x86-64, AArch64 and RISC-V
 * let it do without knowing the types; a variadic function is called as one (LAZY_VARIADIC, up to four integers or
 * pointers in all). */
#pragma once

/* Never fails: says which package is missing, and ends the process. file: "libarchive.so.13", package: "libarchive13"
 */
void *lazy_find(const char *file, const char *package, const char *function);

#define LAZY(f, library)                                                                                 \
        __attribute__((visibility("hidden"))) long f(long a, long b, long c, long d, long e, long g);    \
        long f(long a, long b, long c, long d, long e, long g) {                                         \
                static long (*at)(long, long, long, long, long, long);                                   \
                long (*fn)(long, long, long, long, long, long) = __atomic_load_n(&at, __ATOMIC_RELAXED); \
                if (!fn)                                                                                 \
                        __atomic_store_n(&at, fn = lazy_find(library, #f), __ATOMIC_RELAXED);            \
                return fn(a, b, c, d, e, g);                                                             \
        }

#define LAZY_VARIADIC(f, library)                                                             \
        __attribute__((visibility("hidden"))) long f(long a, long b, long c, long d);         \
        long f(long a, long b, long c, long d) {                                              \
                static long (*at)(long, long, ...);                                           \
                long (*fn)(long, long, ...) = __atomic_load_n(&at, __ATOMIC_RELAXED);         \
                if (!fn)                                                                      \
                        __atomic_store_n(&at, fn = lazy_find(library, #f), __ATOMIC_RELAXED); \
                return fn(a, b, c, d);                                                        \
        }
