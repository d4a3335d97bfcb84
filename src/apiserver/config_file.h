/* Files of configuration of the group apiserver.config.k8s.io: who is believed, who is asked, what is encrypted.
 * Private to src/apiserver. */
#pragma once

#include "base/faults.h"
#include "apiserver/validation/validate.h"

/* What a document must be. */
struct config_kind {
        const char *known;  /* its versions and kinds: "apiserver.config.k8s.io/v1:EncryptionConfiguration …" */
        const char *scheme; /* where upstream keeps them, for errors */
        const char *shape;  /* for json_build: an object that has every field once, with a value of its type */
        bool lenient;       /* fields that are not there are passed over */
        bool untold;        /* it need not tell version or kind: there is one */
};
/* Reads YAML or JSON into a, as upstream's decoders do, with their errors. */
int config_decode(struct arena *a, struct str text, const struct config_kind *k, struct json **ret, struct error *err);
/* The same from a file, which may not be empty. */
int config_read(struct arena *a, const char *path, const struct config_kind *k, struct json **ret, struct error *err);
/* What is no JSON is YAML. twice: as in json_parse_opts, may be NULL. */
int config_parse(struct arena *a, struct str text, struct json_duplicates *twice, struct json **ret, struct error *err);
/* Of such a document: -EINVAL when a field has a value of another type, which is told as Go does. A null in shape
 * stands for anything; a text that is not empty names the type of a text (a Duration is read), the member "" that of
 * its object: with the package, when it is another than the version. 64 is an int64, other numbers are an int32. */
int config_check_types(struct arena *a, const struct json *doc, const struct json *shape, struct error *err);
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
