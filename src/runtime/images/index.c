/* index.json: the only truth about what the store holds. */
#include "base/file.h"
#include "json/build.h"
#include "runtime/images/store.h"

static void strings_free(strings *v) {
        for (size_t i = 0; i < v->n; i++)
                free(v->v[i]);
        vec_free(v);
}

static ssize_t strings_find(const strings *v, struct str s) {
        for (size_t i = 0; i < v->n; i++)
                if (str_eqc(s, v->v[i]))
                        return (ssize_t) i;
        return -1;
}

bool strings_has(const strings *v, struct str s) {
        return strings_find(v, s) >= 0;
}

void strings_add(strings *v, struct str s) {
        if (!str_empty(s) && !strings_has(v, s))
                vec_push(v, str_dup(s));
}

bool strings_remove(strings *v, struct str s) {
        ssize_t i = strings_find(v, s);

        if (i < 0)
                return false;
        free(v->v[i]);
        vec_remove(v, (size_t) i);
        return true;
}

void image_free(void *image) {
        struct image *i = image;

        free_all(i->id, i->manifest, i->index, i->user);
        strings_free(&i->names);
        strings_free(&i->digests);
        strings_free(&i->chains);
        strings_free(&i->blobs);
        free(i);
}

static void read_strings(strings *v, const struct json *list) {
        json_each_item(it, list)
                strings_add(v, json_str(it));
}

static struct json write_strings(struct arena *a, const strings *v) {
        struct json list = json_new_array();

        for (size_t i = 0; i < v->n; i++)
                json_push(a, &list, json_of_cstr(v->v[i]));
        return list;
}

static void read_image(struct image_store *s, const struct json *j) {
        struct image *i = xnew(struct image, .id = str_dup(json_str(json_getc(j, "id"))),
                               .manifest = str_dup(json_str(json_getc(j, "manifest"))));

        if (json_getc(j, "index"))
                i->index = str_dup(json_str(json_getc(j, "index")));
        i->user = str_dup(json_str(json_getc(j, "user")));
        i->created_ns = json_int(json_getc(j, "created"));
        i->used_ns = json_int(json_getc(j, "used"));
        i->pinned = json_bool(json_getc(j, "pinned"));
        read_strings(&i->names, json_getc(j, "names"));
        read_strings(&i->digests, json_getc(j, "digests"));
        read_strings(&i->chains, json_getc(j, "layers"));
        read_strings(&i->blobs, json_getc(j, "blobs"));
        map_put(s->images, str_of(i->id), i);
}

static void read_layer(struct image_store *s, const struct json_member *m) {
        struct str chain = json_key(m);

        if (!digest_valid(chain))
                return;
        struct layer *l = xcalloc(1, sizeof(*l));
        memcpy(l->chain, chain.p, chain.n);
        l->dir = (unsigned) json_int(json_getc(&m->value, "dir"));
        l->bytes = (uint64_t) json_int(json_getc(&m->value, "bytes"));
        l->inodes = (uint64_t) json_int(json_getc(&m->value, "inodes"));
        s->next_dir = MAX(s->next_dir, l->dir + 1);
        map_put(s->layers, chain, l);
}

int index_read(struct image_store *s, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_free_ char *path = xprintf("%s/index.json", s->root);
        _cleanup_buf_ struct buf text = BUF_INIT;
        struct json *j;

        if (!file_exists(path)) /* a new store */
                return 0;
        int r = file_read(path, 0, &text, err);
        if (r >= 0)
                r = json_parse(a, buf_str(&text), NULL, &j, err);
        if (r < 0)
                return error_prefix(err, "image index %s", path);
        json_each_member(m, json_getc(j, "layers"))
                read_layer(s, m);
        json_each_item(it, json_getc(j, "images"))
                if (digest_valid(json_str(json_getc(it, "id"))))
                        read_image(s, it);
        return 0;
}

static struct json write_image(struct arena *a, const struct image *i) {
        struct json names = write_strings(a, &i->names), digests = write_strings(a, &i->digests),
                    layers = write_strings(a, &i->chains), blobs = write_strings(a, &i->blobs);

        return json_build(a,
                          "{ id: %c, manifest: %c, index: %c, names: %j, digests: %j, layers: %j, blobs: %j, user: %c,"
                          "  created: %l, used: %l, pinned: %b }",
                          i->id, i->manifest, i->index, &names, &digests, &layers, &blobs, i->user, i->created_ns,
                          i->used_ns, i->pinned);
}

int index_write(struct image_store *s, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_free_ char *path = xprintf("%s/index.json", s->root);
        _cleanup_buf_ struct buf text = BUF_INIT;
        struct json doc, images = json_new_array(), layers = json_new_object();
        map_each(it, s->images)
                json_push(a, &images, write_image(a, it.value));
        map_each(it, s->layers) {
                const struct layer *l = it.value;

                if (!l->unpacking)
                        json_setc(a, &layers, l->chain,
                                  json_build(a, "{ dir: %l, bytes: %l, inodes: %l }", (int64_t) l->dir,
                                             (int64_t) l->bytes, (int64_t) l->inodes));
        }
        doc = json_build(a, "{ images: %j, layers: %j }", &images, &layers);
        json_write(&text, &doc);
        buf_putc(&text, '\n');
        return file_write_atomic(path, buf_str(&text), 0600, err);
}
