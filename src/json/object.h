/* An API object as the server keeps it: immutable, reference-counted, shared by threads.
 *
 *   ┌ struct object ──────────────────────────────────────────────────────────────┐
 *   │ refs │ revision │ text ─▶ {"kind":…,"metadata":{…,"resourceVersion":"7"…}…}   │  one allocation
 *   │ meta: name, namespace, uid, labels, owner uids: views into text               │
 *   │ doc ─▶ the tree, parsed by the first who looks inside (atomic)                │
 *   └───────────────────────────────────────────────────────────────────────────────┘
 *
 * The text is made once, when the object is written; it is what is stored, listed and watched. The revision is known
 * only when the store commits, so object_from_tree() leaves a gap in front of the text, and object_set_revision() moves
 * the head (kind, apiVersion, name, namespace, uid: ~200 bytes) into it and writes "resourceVersion" behind it. */
#pragma once

#include "json/json.h"

struct object;

struct object_label {
        struct str key, value;
};

struct object_owner {
        struct str uid;
        bool controller;
        bool block_owner_deletion;
};

/* From a finished text (copied). The text must be valid JSON with an object at its top. revision 0: take it from
 * metadata.resourceVersion if that is there. -EINVAL when it is not a JSON object. */
int object_from_text(struct str text, uint64_t revision, struct object **ret, struct error *err);
/* From a tree: writes the text, without any metadata.resourceVersion the tree may have, and leaves the gap for it
 * (where upstream prints it: right after metadata.uid, or before it where members are sorted by key; else after
 * namespace or name; else first in metadata). */
struct object *object_from_tree(const struct json *tree);
/* Fills the gap, once, before the object is shared: a tree of it that somebody has is gone, as the text moves.
 * Owner: the store's writer. */
void object_set_revision(struct object *o, uint64_t revision);

struct object *object_ref(struct object *o);
void object_unref(struct object *o); /* NULL is fine */
DEFINE_CLEANUP(struct object *, object_unref)
void object_unref_value(void *o); /* the same for maps and slices */

struct str object_text(const struct object *o); /* final bytes */
struct str object_line(const struct object *o); /* the same with a newline, as Go's encoder ends documents */
uint64_t object_revision(const struct object *o);
struct str object_name(const struct object *o);
struct str object_namespace(const struct object *o);
struct str object_uid(const struct object *o);
size_t object_labels(const struct object *o, const struct object_label **ret);
struct str object_label(const struct object *o, struct str key); /* p == NULL when absent */
size_t object_owners(const struct object *o, const struct object_owner **ret);
bool object_deleting(const struct object *o); /* has a deletionTimestamp */
/* spec.nodeName as it stands in the text, with its quotes; empty: there is none. Looked for once: kubelets ask. */
struct str object_node(const struct object *o);
size_t object_size(const struct object *o); /* bytes of memory it holds, for bounds */

/* The condition of a status that has this type, NULL when there is none; and whether it has this value ("True"). */
static inline struct json *condition_find(const struct json *status, const char *type) {
        return json_find_by(json_getc(status, "conditions"), "type", str_of(type));
}
static inline bool condition_is(const struct json *status, const char *type, const char *value) {
        return str_eqc(json_str(json_getc(condition_find(status, type), "status")), value);
}
static inline bool pod_has_ended(const struct json *pod) {
        return str_among(json_str(json_at_path(pod, "status", "phase")), WORDS("Succeeded", "Failed"));
}

/* The tree, parsed on first use; lives as long as the object, is shared and must not be changed. Thread-safe. Never
 * NULL: a stored text that does not parse means damaged data, and the process stops with a message. */
const struct json *object_json(const struct object *o);
