/* An API server over a store in memory, and calls that wait. */
#pragma once

#include "../test.h"

#include "apiserver/server.h"
#include "schema/types.h"

struct fixture {
        struct store *store;
        struct apiserver *s;
        struct arena *a; /* of everything a test makes */
};

int fixture_setup(void **state);
int fixture_setup_with(void **state, const char *const *args);                         /* apiserver_options.args */
int fixture_setup_ranges(void **state, const char *service_cidr, const char *address); /* and .advertise_address */
int fixture_teardown(void **state);

struct answer {
        int code;
        const struct json *body; /* the object's or answer's tree; lives in the fixture's arena */
        char *message;           /* of the error */
        const char *status;      /* all of it */
        const char *reason;
        const char *token;     /* of the error of an expired list */
        struct api_list *list; /* freed with the fixture: copied into body.items */
        size_t n_warnings;
        struct str warning;
        const struct json *annotations; /* for the audit log; NULL: none */
};

struct request {
        enum api_verb verb;
        const struct api_resource *resource;
        const char *ns, *name, *sub, *body;
        enum api_patch patch;
        struct api_options options;
        const struct api_user *user;
        bool grace_zero;     /* else none is given */
        unsigned timeout_ms; /* 0: none */
};
struct answer ask(struct fixture *f, struct request r);
#define ASK(f, ...) ask((f), (struct request) { __VA_ARGS__ })
/* The value at a path of the answer as text: strings as they are, the rest as JSON. */
const char *at(struct fixture *f, struct answer r, const char *path);

/* What an answer has to be: a code; a code and a value at a path; a code and the text of the error. */
#define check_code(r, c)                                              \
        do {                                                          \
                struct answer _r = (r);                               \
                if (_r.code != (c))                                   \
                        fail_msg("code %d: %s", _r.code, _r.message); \
        } while (0)
#define check(r, c, path, text)                                 \
        do {                                                    \
                struct answer _a = (r);                         \
                check_code(_a, c);                              \
                assert_string_equal(at(f, _a, (path)), (text)); \
        } while (0)
#define check_error(r, c, text)                                            \
        do {                                                               \
                struct answer _r = (r);                                    \
                assert_int_equal(_r.code, (c));                            \
                assert_string_equal(_r.message ? _r.message : "", (text)); \
        } while (0)

void make_account(struct fixture *f, const char *ns);

/* What names have to be. */
#define LABEL_NAME                                                                                                  \
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and " \
        "end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "          \
        "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
#define SUBDOMAIN_OF(marks)                                                                                       \
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, " marks ", and must " \
        "start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "         \
        "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
#define SUBDOMAIN SUBDOMAIN_OF("'-' or '.'")

/* The server's HTTP, on a port of its own. */
void fixture_listen(struct fixture *f);
void fixture_let_all(struct fixture *f); /* who says nothing of himself may do anything */
/* Listens, with what requests over HTTP go through, and lets all in; as a setup, and with its end. */
void fixture_serve(struct fixture *f);
int fixture_serve_setup(void **state);
int fixture_serve_teardown(void **state);
/* Sends a request, reads until this comes (NULL: until the server closes). In the fixture's arena. */
struct str talk_until(struct fixture *f, const char *text, const char *last);
/* 'text' with double quotes. */
char *with_quotes(struct fixture *f, const char *text);
#define Q(text) with_quotes(f, (text))
/* Of widgets.example.com, whose version v1 has this schema, and more. */
char *widget_definition(struct fixture *f, const char *schema, const char *more);
/* 422, "KIND is invalid: MESSAGE" */
void check_invalid(struct answer r, const char *kind, const char *message);
