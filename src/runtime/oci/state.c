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

static void fields_write(struct buf *dst, const struct field *fields, size_t n, const void *object) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json doc = json_new_object();

        for (size_t i = 0; i < n; i++) {
                const void *at = (const char *) object + fields[i].offset;

                switch (fields[i].type) {
                case F_STR:
                        if (*(char *const *) at)
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

static void fields_read(const struct json *doc, const struct field *fields, size_t n, struct arena *a, void *object) {
        for (size_t i = 0; i < n; i++) {
                const struct json *v = json_getc(doc, fields[i].name);
                void *at = (char *) object + fields[i].offset;

                if (!v)
                        continue;
                switch (fields[i].type) {
                case F_STR:
                        *(char **) at = arena_cstr(a, json_str(v));
                        break;
                case F_INT:
                        *(int64_t *) at = json_int(v);
                        break;
                case F_BOOL:
                        *(bool *) at = json_bool(v);
                        break;
                case F_JSON:
                        *(struct json **) at = json_keep(a, v);
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

int sandbox_save(struct runtime *r, struct sandbox *s, struct error *err) {
        _cleanup_buf_ struct buf text = BUF_INIT;

        with_lock(&r->lock)
                fields_write(&text, sandbox_fields, ARRAY_SIZE(sandbox_fields), s);
        return replace(s->dir, buf_str(&text), err);
}

int container_save(struct runtime *r, struct container *c, struct error *err) {
        _cleanup_buf_ struct buf text = BUF_INIT;
        HOLD(&c->save); /* taken first: the newest state is written last */

        with_lock(&r->lock)
                fields_write(&text, container_fields, ARRAY_SIZE(container_fields), c);
        return replace(c->dir, buf_str(&text), err);
}

static int state_read(struct arena *a, const char *dir, struct json **ret, struct error *err) {
        _cleanup_free_ char *path = xprintf("%s/state.json", dir);
        _cleanup_buf_ struct buf text = BUF_INIT;
        int k = file_read(path, 16 << 20, &text, err);

        if (k >= 0)
                k = json_parse(a, arena_str(a, buf_str(&text)), NULL, ret, err);
        return k < 0 ? error_prefix(err, "%s", path) : 0;
}

int sandbox_load(struct runtime *r, const char *id, struct sandbox **ret, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct sandbox *s = sandbox_new(r, id);
        struct json *doc;
        int k = state_read(a, s->dir, &doc, err);

        if (k < 0) {
                sandbox_put(r, s);
                return k;
        }
        fields_read(doc, sandbox_fields, ARRAY_SIZE(sandbox_fields), s->arena, s);
        *ret = s;
        return 0;
}

int container_load(struct runtime *r, const char *id, struct container **ret, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct container *c = container_new(r, id);
        struct json *doc;
        int k = state_read(a, c->dir, &doc, err);

        if (k < 0) {
                container_put(r, c);
                return k;
        }
        fields_read(doc, container_fields, ARRAY_SIZE(container_fields), c->arena, c);
        *ret = c;
        return 0;
}
