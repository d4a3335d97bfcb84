/* What is kept on disk about sandboxes and containers: state.json in their directories, by a table of their fields. It
 * is replaced by a rename, without fsync: state_dir is not meant to outlive the machine, only us. */
#include "base/file.h"
#include "base/lock.h"
#include "runtime/oci/oci.h"

enum field_type { F_STR, F_INT, F_BOOL, F_JSON };

struct field {
        const char *name;
        enum field_type type;
        size_t offset;
};

#define S(kind, field) \
        { #field, kind, offsetof(struct sandbox, field) }
#define C(kind, field) \
        { #field, kind, offsetof(struct container, field) }

/* clang-format off */
static const struct field sandbox_fields[] = {
        S(F_STR, name), S(F_STR, namespace), S(F_STR, uid), S(F_STR, hostname), S(F_STR, log_directory),
        S(F_STR, cgroup), S(F_STR, handler), S(F_INT, attempt), S(F_INT, created_ns), S(F_INT, state),
        S(F_INT, pause_pid), S(F_BOOL, host_network), S(F_BOOL, host_ipc), S(F_BOOL, host_pid), S(F_BOOL, share_pid),
        S(F_JSON, labels), S(F_JSON, annotations),
        { "ip0", F_STR, offsetof(struct sandbox, ips[0]) }, { "ip1", F_STR, offsetof(struct sandbox, ips[1]) },
};
/* clang-format on */

static const struct field container_fields[] = {
        C(F_STR, sandbox_id),   C(F_STR, name),        C(F_STR, image),       C(F_STR, image_id),  C(F_STR, image_form),
        C(F_STR, log_path),     C(F_STR, cgroup),      C(F_STR, handler),     C(F_STR, reason),    C(F_STR, message),
        C(F_INT, attempt),      C(F_INT, created_ns),  C(F_INT, stop_signal), C(F_INT, pid_start), C(F_INT, state),
        C(F_INT, started_ns),   C(F_INT, finished_ns), C(F_INT, exit_code),   C(F_INT, pid),       C(F_BOOL, tty),
        C(F_BOOL, stdin_open),  C(F_BOOL, stdin_once), C(F_BOOL, own_pid_ns), C(F_BOOL, starting), C(F_JSON, labels),
        C(F_JSON, annotations), C(F_JSON, mounts),     C(F_JSON, images),
};

struct unit_kind {
        const char *dir; /* in state_dir */
        size_t size;
        const struct field *fields;
        size_t n;
};
static const struct unit_kind sandbox_kind = { "sandboxes", sizeof(struct sandbox), sandbox_fields,
                                               ARRAY_SIZE(sandbox_fields) };
static const struct unit_kind container_kind = { "containers", sizeof(struct container), container_fields,
                                                 ARRAY_SIZE(container_fields) };

static void *unit_new(struct runtime *r, const struct unit_kind *kind, const char *id) {
        struct arena *a = arena_new(4096);
        struct unit *u = arena_alloc0(a, kind->size);

        u->kind = kind;
        u->refs = 1;
        u->arena = a;
        u->pidfd = -1;
        u->id = arena_cstr(a, str_of(id));
        u->dir = (char *) arena_printf(a, "%s/%s/%s", r->state_dir, kind->dir, id).p;
        for (size_t i = 0; i < kind->n; i++)
                if (kind->fields[i].type == F_STR)
                        *(char **) ((char *) u + kind->fields[i].offset) = (char *) "";
        pthread_mutex_init(&u->op, NULL);
        pthread_mutex_init(&u->save, NULL);
        return u;
}

struct sandbox *sandbox_new(struct runtime *r, const char *id) {
        struct sandbox *s = unit_new(r, &sandbox_kind, id);

        s->ns = (char *) arena_printf(s->arena, "%s/ns/%s", r->state_dir, id).p;
        return s;
}

struct container *container_new(struct runtime *r, const char *id) {
        return unit_new(r, &container_kind, id);
}

bool unit_is_sandbox(const struct unit *u) {
        return u->kind == &sandbox_kind;
}

static void fields_write(struct buf *dst, const struct unit *u) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        const struct field *fields = u->kind->fields;
        struct json doc = json_new_object();

        for (size_t i = 0; i < u->kind->n; i++) {
                const void *at = (const char *) u + fields[i].offset;

                switch (fields[i].type) {
                case F_STR:
                        json_set_cstr(a, &doc, fields[i].name, *(char *const *) at);
                        break;
                case F_INT:
                        json_set_int(a, &doc, fields[i].name, *(const int64_t *) at);
                        break;
                case F_BOOL:
                        json_set_bool(a, &doc, fields[i].name, *(const bool *) at);
                        break;
                case F_JSON:
                        if (*(struct json *const *) at)
                                json_setc(a, &doc, fields[i].name, **(struct json *const *) at);
                        break;
                }
        }
        json_write(dst, &doc);
}

static void fields_read(const struct json *doc, struct unit *u) {
        const struct field *fields = u->kind->fields;

        for (size_t i = 0; i < u->kind->n; i++) {
                const struct json *v = json_getc(doc, fields[i].name);
                void *at = (char *) u + fields[i].offset;

                if (!v)
                        continue;
                switch (fields[i].type) {
                case F_STR:
                        *(char **) at = arena_cstr(u->arena, json_str(v));
                        break;
                case F_INT:
                        *(int64_t *) at = json_int(v);
                        break;
                case F_BOOL:
                        *(bool *) at = json_bool(v);
                        break;
                case F_JSON:
                        *(struct json **) at = json_keep(u->arena, v);
                        break;
                }
        }
}

static int replace(const char *dir, struct str text, struct error *err) {
        _cleanup_free_ char *tmp = xprintf("%s/state.json.tmp", dir), *path = xprintf("%s/state.json", dir);
        int r = file_write(tmp, text, 0600, err);

        if (r >= 0 && rename(tmp, path) < 0)
                r = error_errno(err, -errno, "rename %s", tmp);
        return r;
}

int unit_save(struct runtime *r, void *unit, struct error *err) {
        _cleanup_buf_ struct buf text = BUF_INIT;
        struct unit *u = unit;
        HOLD(&u->save); /* taken first: the newest state is written last */

        with_lock(&r->lock)
                fields_write(&text, u);
        return replace(u->dir, buf_str(&text), err);
}

/* Takes u over when there is no state of it. */
static int load(struct runtime *r, struct unit *u, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_free_ char *path = xprintf("%s/state.json", u->dir);
        _cleanup_buf_ struct buf text = BUF_INIT;
        struct json *doc;
        int k = file_read(path, 16 << 20, &text, err);

        if (k >= 0)
                k = json_parse(a, buf_str(&text), NULL, &doc, err);
        if (k < 0) {
                unit_put(r, u);
                return error_prefix(err, "%s", path);
        }
        fields_read(doc, u);
        return 0;
}

int sandbox_load(struct runtime *r, const char *id, struct sandbox **ret, struct error *err) {
        *ret = sandbox_new(r, id);
        return load(r, (struct unit *) *ret, err);
}

int container_load(struct runtime *r, const char *id, struct container **ret, struct error *err) {
        *ret = container_new(r, id);
        return load(r, (struct unit *) *ret, err);
}
