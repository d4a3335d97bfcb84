/* Limits on local storage: an emptyDir's sizeLimit, a container's and a pod's limit of ephemeral-storage. A pod beyond
 * one of them is evicted.
 * https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/#local-ephemeral-storage */
#include "kubelet/internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "schema/quantity.h"

#define MAX_DEPTH 128

/* Bytes on disk at and below name; other file systems and what links point to do not count. */
static int64_t disk_usage(int dir, const char *name, dev_t dev, int depth) {
        struct dirent *e;
        struct stat st;

        if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || (dev && st.st_dev != dev))
                return 0;
        int64_t total = (int64_t) st.st_blocks * 512;
        if (!S_ISDIR(st.st_mode) || depth > MAX_DEPTH)
                return total;
        int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        DIR *d = fd < 0 ? NULL : fdopendir(fd);
        if (!d) {
                closep(&fd);
                return total;
        }
        while ((e = readdir(d)))
                if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
                        total += disk_usage(dirfd(d), e->d_name, st.st_dev, depth + 1);
        closedir(d);
        return total;
}

static bool is_on_disk(const struct json *volume) {
        struct str medium = jstr(json_getc(volume, "emptyDir"), "medium");

        return json_getc(volume, "emptyDir") && !str_eqc(medium, "Memory") && !str_has_prefix(medium, STR("HugePages"));
}

static int64_t volume_usage(const struct pod_view *v, const struct json *volume) {
        _cleanup_free_ char *path =
                        xprintf("%s/volumes/kubernetes.io~empty-dir/%" STR_FMT, v->dir, STR_ARG(jstr(volume, "name")));

        return disk_usage(AT_FDCWD, path, 0, 0);
}

static bool check_volumes(const struct pod_view *v, const struct json *spec, char **ret_message) {
        json_each_item(volume, json_getc(spec, "volumes")) {
                const struct json *limit = json_at_path(volume, "emptyDir", "sizeLimit");

                if (!limit || !is_on_disk(volume) || volume_usage(v, volume) <= quantity_value(quantity_of_json(limit)))
                        continue;
                *ret_message = xprintf("Usage of EmptyDir volume \"%" STR_FMT "\" exceeds the limit \"%" STR_FMT "\". ",
                                       STR_ARG(jstr(volume, "name")), STR_ARG(json_str(limit)));
                return true;
        }
        return false;
}

/* What a container wrote: its layer and its logs. */
static int64_t container_usage(struct kubelet *k, const struct pod_view *v, const struct container_view *c) {
        _cleanup_free_ char *logs = xprintf("%s/%s", v->log_dir, c->name);
        struct runtime_usage use = { 0 };

        if (c->running)
                runtime_container_usage(k->runtime, c->id, &use, NULL);
        return (int64_t) use.rootfs_bytes + disk_usage(AT_FDCWD, logs, 0, 0);
}

static bool check_containers(struct kubelet *k, const struct pod_view *v, const struct json *spec, char **ret_message) {
        json_each_item(container, json_getc(spec, "containers")) {
                const struct json *limit = json_at_path(container, "resources", "limits", "ephemeral-storage");
                const struct container_view *c = view_container(v, jstr(container, "name"));

                if (!limit || !c || container_usage(k, v, c) <= quantity_value(quantity_of_json(limit)))
                        continue;
                *ret_message = xprintf("Container %s exceeded its local ephemeral storage limit \"%" STR_FMT "\". ",
                                       c->name, STR_ARG(json_str(limit)));
                return true;
        }
        return false;
}

static bool check_pod(struct kubelet *k, const struct pod_view *v, const struct json *spec, char **ret_message) {
        int64_t limit = pod_request(spec, "limits", "ephemeral-storage", false), total = 0;
        char text[64];

        if (limit <= 0)
                return false;
        for (size_t i = 0; i < v->n_containers; i++)
                total += container_usage(k, v, &v->containers[i]);
        json_each_item(volume, json_getc(spec, "volumes"))
                if (is_on_disk(volume))
                        total += volume_usage(v, volume);
        if (total <= limit)
                return false;
        struct str shown = quantity_print(text, quantity_of_int(limit, QUANTITY_BINARY_SI));
        *ret_message = xprintf("Pod ephemeral local storage usage exceeds the total limit of containers %" STR_FMT ". ",
                               STR_ARG(shown));
        return true;
}

bool storage_exceeds(struct kubelet *k, const struct pod_view *v, char **ret_message) {
        const struct json *spec =
                        v->object && !object_deleting(v->object) ? json_getc(object_json(v->object), "spec") : NULL;

        return spec && (check_volumes(v, spec, ret_message) || check_containers(k, v, spec, ret_message) ||
                        check_pod(k, v, spec, ret_message));
}
