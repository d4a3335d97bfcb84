/* Volumes: what volumes.c, payload.c, atomic.c and subpath.c share. */
#pragma once

#include "kubelet/internal.h"

/* A file of a configMap, secret, downwardAPI or projected volume. */
struct payload_file {
        struct str path, data;
        mode_t mode;
        bool owned; /* by owner; else by root */
        uid_t owner;
};
struct payload {
        struct payload_file *v;
        size_t n, cap;
        int64_t refresh_at_ns; /* wall clock: when a token has to be renewed; 0: nothing expires */
        const char *tokens_in; /* in: the volume, whose tokens are still good and are kept; NULL: new ones are asked for
                                */
};

/* The files of one volume source (an entry of spec.volumes, or of projected.sources when in_projected). Data lives in
 * the step's arena. kind: "configMap", "secret", "downwardAPI", "projected". */
int payload_make(struct pod *p, const char *kind, const struct json *source, struct payload *ret, struct error *err);

/* A ConfigMap or Secret of the pod's namespace; the error names it as kubelets do, in the singular. 0 and NULL: absent
 * and optional. */
int source_get(struct pod *p, const struct api_resource *res, struct str name, bool optional, struct object **ret,
               struct error *err);

/* Makes dir show exactly these files, all at once: https://pkg.go.dev/k8s.io/kubernetes/pkg/volume/util#AtomicWriter
 * gid: the files' group, -1 for none. ret_changed may be NULL. */
int atomic_write(const char *dir, const struct payload *files, int64_t gid, bool *ret_changed, struct error *err);

/* Binds sub (a path within the volume, made when missing) to a place of its own, immune to symbolic links that change
 * later, and returns that place. */
int subpath_bind(struct pod *p, const char *volume_path, struct str volume, const char *container, size_t index,
                 struct str sub, char **ret_path, struct error *err);

/* Unmounts everything at and below dir. */
int unmount_below(const char *dir, struct error *err);
bool is_mount_point(const char *path);
