/* What an HTTP request asks for, read from its path, query and headers. Pure functions over text: fuzzed by
 * fuzz_request. */
#pragma once

#include "apiserver/api.h"
#include "base/quote.h"
#include "base/vec.h"

/* https://kubernetes.io/docs/reference/access-authn-authz/authorization/#determine-the-request-verb */
struct request_info {
        bool is_resource;          /* else a path such as /healthz */
        bool legacy_watch;         /* /api/v1/watch/… */
        bool legacy_proxy;         /* /api/v1/proxy/…, of which nothing is left */
        bool lacks_resource;       /* /api/v1/watch itself, which upstream cannot read */
        struct str group, version; /* also set for /api/v1 and /apis/apps/v1 themselves */
        struct str plural, namespace, name, subresource;
        struct str tail; /* what follows the subresource, with its '/': proxy paths. Not decoded */
};
/* Views into path, or into a where a segment was percent-encoded. -EINVAL when the encoding is broken. */
int request_parse_path(struct arena *a, struct str path, struct request_info *ret);

/* The values of dryRun; bad: there is another than "All". */
struct dry_run {
        VEC(struct str) values;
        bool bad;
};
struct request_query {
        struct api_options options;
        bool watch, force_given, export, orphan, orphan_given;
        struct dry_run dry_run;
        struct str validation;                         /* as given */
        struct str bad_list_option, bad_delete_option; /* what is wrong with a number of those, or empty */
        struct str include_object;                     /* of a Table: None, Metadata, Object */
};
/* Unknown and malformed parameters are ignored, as upstream does. */
void request_parse_query(struct arena *a, struct str query, struct request_query *ret);
/* The options of a create, update or patch: kind is "CreateOptions", "UpdateOptions" or "PatchOptions". */
int request_check_write(struct arena *a, const struct request_query *q, const char *kind, bool patch, bool apply,
                        struct error *err);
/* Why str_to_u64 or str_to_i64 refuse, as strconv says it. */
const char *request_number_wrong(int r);
/* Of a DELETE's or a pod's log's parameter; what is wrong with the first is added to *bad. */
void request_number(struct arena *a, struct str v, int64_t *ret, struct str *bad);
/* Of a parameter that is there: everything but "0" and "false" is true, as upstream's conversion has it. */
bool request_bool(struct str value);
/* The first value of one parameter, decoded into a; p == NULL when it is not there. */
struct str request_query_get(struct arena *a, struct str query, const char *key);
/* The same of a DELETE without a body; completes o. */
int request_check_delete(struct arena *a, const struct request_query *q, struct api_options *o, struct error *err);
/* metav1.DeleteOptions instead of those of the query: of a DELETE's body, and of an eviction (NULL: none). */
int request_delete_body(struct arena *a, const struct json *body, struct api_options *o, struct error *err);
int request_delete_options(struct arena *a, const struct json *body, struct api_options *o, struct error *err);

enum media { MEDIA_JSON, MEDIA_YAML, MEDIA_PROTOBUF };
enum shape { SHAPE_OBJECT, SHAPE_TABLE, SHAPE_PARTIAL, SHAPE_DISCOVERY };

struct negotiated {
        enum media media;
        enum shape shape;
        bool v1beta1; /* of the shape: meta.k8s.io/v1beta1 */
        bool list;    /* of the shape: PartialObjectMetadataList */
        bool pretty;  /* asked for in the header */
        bool exact;   /* with the version of the API's server, which is asked of no error */
};
/* For the shapes of request_negotiate: a path of which upstream's router has an opinion, nothing but JSON, a list or
 * watch, no protobuf but for shapes. */
#define NEGOTIATE_RESOURCE (1U << 24) /* the version of the API's server may be named */
#define NEGOTIATE_UNTOLD (1U << 23)   /* with ROUTER: LENGTH_UNTOLD */
#define NEGOTIATE_LOG (1U << 25)      /* with ROUTER: a text is known to it, too */
#define NEGOTIATE_KEYS (1U << 26)     /* with the next two: JSON by another name */
#define NEGOTIATE_ROUTER (1U << 27)
#define NEGOTIATE_JSON (1U << 28)
#define NEGOTIATE_LIST (1U << 29)
#define NEGOTIATE_BODY (1U << 30) /* with ROUTER: it looks at the type of a body, too */
#define NEGOTIATE_CUSTOM (1U << 31)
/* How long a body is said to be, which upstream's router asks: LENGTH_UNTOLD is only of methods that send one. */
enum body_length { LENGTH_SOME, LENGTH_NONE, LENGTH_UNTOLD };
/* The best of an Accept header (empty: JSON). shapes: a bit for each shape that the endpoint can make besides the
 * object. -EINVAL, NotAcceptable. */
int request_negotiate(struct str accept, unsigned shapes, struct negotiated *ret, struct error *err);
/* The types alone that an Accept header names, the best first; what is behind so many is not read. */
#define REQUEST_RANGES 16
size_t request_accepted(struct str accept, struct str types[static REQUEST_RANGES]);
float request_quality(struct str q); /* "0.5" */
/* Why a Content-Type is none, as Go's mime says: "no media type". NULL: it is one; a parameter may come twice when it
 * says the same. */
const char *request_media_fault(struct str text);
/* The format of a body by its Content-Type (empty: JSON). -EINVAL, UnsupportedMediaType. */
int request_body_media(struct str content_type, enum media *ret, struct error *err);
/* Where only GET is answered: -EINVAL for a type of a body that the router does not know there. */
int request_check_type(struct str content_type, unsigned shapes, enum body_length length, struct error *err);
/* custom: strategic merge patches are not for custom resources. */
int request_patch_type(struct str content_type, bool custom, enum body_length length, enum api_patch *ret,
                       struct error *err);

/* The server's continue token: where a paged list goes on, and of which revision. */
struct str continue_encode(struct arena *a, uint64_t revision, struct str start);
int continue_decode(struct arena *a, struct str token, uint64_t *ret_revision, struct str *ret_start,
                    struct error *err);
