/* Faults that are told as one: "a", or "[a, b]", each once. Zeroed: none. */
#pragma once

#include "base/buf.h"
#include "base/error.h"

struct faults {
        struct buf text; /* "[a, b]", whatever their number */
        unsigned n;
};
#define _cleanup_faults_ _cleanup_(faults_clear)
void fault_add(struct faults *f, const char *fmt, ...) _printf_(2, 3);
struct str faults_text(const struct faults *f);         /* until the next one; "": none */
int faults_finish(struct faults *f, struct error *err); /* 0, or -EINVAL; f is empty again */
void faults_clear(struct faults *f);
