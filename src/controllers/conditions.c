#include "controllers/conditions.h"

#include "base/time.h"
#include "json/build.h"

bool condition_set(struct arena *a, struct json *status, const struct condition *c, int64_t now_ns,
                   enum condition_flags flags) {
        const struct json *old = condition_find(status, c->type);
        size_t at = old ? (size_t) (old - json_items(json_getc(status, "conditions"))) : 0;
        struct str old_status = json_str(json_getc(old, "status")),
                   transition = json_str(json_getc(old, "lastTransitionTime"));
        bool same_status = old && str_eqc(old_status, c->status);
        struct json list, v;
        char now[36];

        if (same_status && str_eqc(json_str(json_getc(old, "reason")), c->reason ? c->reason : "") &&
            ((flags & CONDITION_IGNORE_MESSAGE) ||
             str_eqc(json_str(json_getc(old, "message")), c->message ? c->message : "")))
                return false;
        if (!same_status || str_empty(transition))
                transition = time_format(now, now_ns);
        v = json_build(a,
                       "{ type: %c, status: %c, lastProbeTime: %S, lastUpdateTime: %S, lastTransitionTime: %S, reason: "
                       "%o, message: %o }",
                       c->type, c->status,
                       flags & CONDITION_PROBE_TIME ? time_format((char[36]) { 0 }, now_ns) : str_n(NULL, 0),
                       flags & CONDITION_UPDATE_TIME ? time_format((char[36]) { 0 }, now_ns) : str_n(NULL, 0),
                       transition, arena_str(a, str_of(c->reason)), arena_str(a, str_of(c->message)));
        list = json_is(json_getc(status, "conditions"), JSON_ARRAY)
                               ? json_copy_shallow(a, json_getc(status, "conditions"))
                               : json_new_array();
        if (old && !(flags & CONDITION_MOVE_LAST))
                json_items(&list)[at] = v;
        else {
                if (old)
                        json_remove_item(&list, at);
                json_push(a, &list, v);
        }
        json_setc(a, status, "conditions", list);
        return true;
}

bool condition_remove(struct arena *a, struct json *status, const char *type) {
        const struct json *conditions = json_getc(status, "conditions"), *old = condition_find(status, type);

        if (!old)
                return false;
        struct json list = json_copy_shallow(a, conditions);
        json_remove_item(&list, (size_t) (old - json_items(conditions)));
        if (json_len(&list) == 0)
                json_removec(status, "conditions");
        else
                json_setc(a, status, "conditions", list);
        return true;
}

void status_count(struct arena *a, struct json *status, const char *key, int64_t n) {
        if (n != 0)
                json_set_int(a, status, key, n);
        else
                json_removec(status, key);
}

struct json status_copy(struct arena *a, const struct json *status) {
        return json_is(status, JSON_OBJECT) ? json_copy_shallow(a, status) : json_new_object();
}
