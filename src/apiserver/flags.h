/* The flags of kube-apiserver that Cube has, by their names there; apiserver_options.args carries them as "name=value".
 * What a flag means, the part that asks for it knows. */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"

struct apiserver;
struct api_resource;

struct apiserver_flag {
        const char *name, *arg, *help;
};
extern const struct apiserver_flag apiserver_flags[]; /* ends with a NULL name */

/* Feature gates of kube-apiserver, by name, and whether they are on by default. */
struct apiserver_feature {
        struct str name;
        const char *stage; /* "": GA */
        bool enabled;
};
size_t apiserver_features(struct arena *a, struct apiserver_feature **ret);

/* How the help names its value: "BOOL", which "--name" alone sets, "DURATION" …; NULL: kube-apiserver has no such flag.
 */
const char *apiserver_flag_arg(struct str name);
/* Adds a line "name=value" to those that were given before, as everybody reads it: "true" or "false", a decimal number,
 * a list with what earlier ones had. name is known. -EINVAL: it has no such value, in kube-apiserver's words; or Cube
 * cannot do it. */
int apiserver_flag_add(struct str name, const char *text, struct buf *lines, struct error *err);
/* The value of a flag of that kind, as it is kept (flags_check.c). */
int apiserver_flag_read(struct str name, const char *arg, const char *text, struct buf *ret, struct error *err);
void duration_explain(struct str s, struct buf *dst); /* what Go says of one that cannot be parsed */
/* All of its args together: -EINVAL with all that is wrong. */
int apiserver_flags_check(const struct apiserver *s, struct error *err);
/* The value that was given (the last of several), NUL-terminated; or dflt, which may be NULL. */
const char *server_flag(const struct apiserver *s, const char *name, const char *dflt);
bool server_feature(const struct apiserver *s, struct str name);
/* The same in a list of args. */
const char *flag_value(const char *const *args, const char *name, const char *dflt);
/* All that were given: the i-th from *i on, which it counts up; NULL: no more. */
const char *server_flag_next(const struct apiserver *s, const char *name, size_t *i);
/* Whether --runtime-config leaves it on. */
bool server_wants(const struct apiserver *s, const struct api_resource *r);
bool server_flag_on(const struct apiserver *s, const char *name, bool dflt);
/* A whole number, a Go duration in ms; the default when it was not given or cannot be read. */
unsigned server_flag_number(const struct apiserver *s, const char *name, unsigned dflt);
int64_t server_flag_ms(const struct apiserver *s, const char *name, int64_t dflt_ms);
