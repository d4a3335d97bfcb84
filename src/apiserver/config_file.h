/* Files of configuration of the group apiserver.config.k8s.io: who is believed, who is asked, what is encrypted.
 * Private to src/apiserver. */
#pragma once

#include "apiserver/validation/validate.h"

/* Reads a file of YAML or JSON into a. versions: those that are known of the kind ("v1 v1beta1"; of another group with
 * its name). shape: an object that has every field once, with a value of its type; what is not there is an error. */
int config_read(struct arena *a, const char *path, const char *kind, const char *versions, const struct json *shape,
                struct json **ret, struct error *err);
/* Of such a document: -EINVAL when a field has a value of another type, which is told as Go does. A null in shape
 * stands for anything; a text that is not empty names the type of a text (a Duration is read), the member "" that of
 * its object. */
int config_check_types(struct arena *a, const struct json *doc, const struct json *shape, struct error *err);
/* The same, and when it has fields that shape does not. */
int config_check(struct arena *a, const struct json *doc, const struct json *shape, struct error *err);
/* For errors: a list as upstream's has it, []type{"a", …}, or of objects with one member: []type{type{Key:"a"}, …}. */
const struct json *list_in_go(struct arena *a, const struct json *list, const char *type, const char *member,
                              const char *key);
/* 0, or -EINVAL with all errors: "[jwt[0].issuer.url: Required value, …]". Frees the list. */
int config_finish(struct field_errors *fe, struct error *err);

struct cel_program;
struct cel_variable;
/* Compiles an expression over one variable. NULL and an error in fe when it does not; boolean: it must yield one. */
struct cel_program *config_compile(struct field_errors *fe, const struct path *p, struct str text,
                                   const struct cel_variable *variable, bool boolean);
