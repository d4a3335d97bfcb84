/* The flags of kube-apiserver that Cube has, by their names there; apiserver_options.args carries them as "name=value".
 * What a flag means, the part that asks for it knows. */
#pragma once

#include "base/error.h"

struct apiserver;

struct apiserver_flag {
        const char *name, *arg, *help;
};
extern const struct apiserver_flag apiserver_flags[]; /* ends with a NULL name */

/* Feature gates of kube-apiserver, and what Cube does: nobody can choose it. */
struct apiserver_feature {
        const char *name, *stage; /* "": GA */
        bool enabled;
};
extern const struct apiserver_feature apiserver_features[]; /* ends with a NULL name */

const struct apiserver_flag *apiserver_flag_find(struct str name); /* NULL: there is none */
/* "--name" alone is true. */
bool apiserver_flag_is_bool(struct str name);
/* kube-apiserver has it, whether or not Cube does. */
bool apiserver_flag_known(struct str name);
/* One of those that are not in the table: 0: it changes nothing with that value; -EINVAL: Cube cannot do it. */
int apiserver_flag_other(struct str name, const char *value, struct error *err);
/* The value that was given (the last of several), NUL-terminated; or dflt, which may be NULL. */
const char *server_flag(const struct apiserver *s, const char *name, const char *dflt);
/* The same in a list of args. */
const char *flag_value(const char *const *args, const char *name, const char *dflt);
/* All that were given: the i-th from *i on, which it counts up; NULL: no more. */
const char *server_flag_next(const struct apiserver *s, const char *name, size_t *i);
/* A whole number, a Go duration in ms; the default when it was not given or cannot be read. */
unsigned server_flag_number(const struct apiserver *s, const char *name, unsigned dflt);
int64_t server_flag_ms(const struct apiserver *s, const char *name, int64_t dflt_ms);
