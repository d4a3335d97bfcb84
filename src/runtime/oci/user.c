/* Who a container's process is: the security context's numbers, else the image's USER, with /etc/passwd and /etc/group
 * of the root file system, which is opened so that no link leads out of it. */
#include <linux/openat2.h>
#include <sys/syscall.h>

#include "runtime/oci/oci.h"

#define DB_MAX (4U << 20)

/* An absent file is an empty one. */
static int read_db(const char *rootfs, const char *name, struct buf *dst, struct error *err) {
        struct open_how how = { .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
                                .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
        _cleanup_close_ int root = open(rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC), fd = -1;

        if (root < 0)
                return error_errno(err, -errno, "open %s", rootfs);
        fd = (int) syscall(SYS_openat2, root, name, &how, sizeof(how));
        if (fd < 0)
                return errno == ENOENT || errno == ENOTDIR || errno == ELOOP
                                       ? 0
                                       : error_errno(err, -errno, "open %s of the image", name);
        for (;;) {
                ssize_t n = read(fd, buf_reserve(dst, 4096), 4096);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return error_errno(err, -errno, "read %s of the image", name);
                if (n == 0)
                        return 0;
                dst->n += (size_t) n;
                if (dst->n > DB_MAX)
                        return error_set(err, -EFBIG, "%s of the image is larger than %u bytes", name, DB_MAX);
        }
}

/* A line "name:x:1000:…" as its first fields. */
static bool db_line(struct str *rest, struct str fields[static 4]) {
        struct str line;

        while (str_split(rest, '\n', &line)) {
                size_t n = 0;

                while (n < 4 && str_split(&line, ':', &fields[n]))
                        n++;
                for (; n < 4; n++)
                        fields[n] = STR("");
                if (!str_empty(fields[0]) && !str_empty(fields[2]))
                        return true;
        }
        return false;
}

static bool id_of(struct str s, uint32_t *ret) {
        uint64_t v;

        if (str_to_u64(s, &v) < 0 || v > UINT32_MAX - 1)
                return false;
        *ret = (uint32_t) v;
        return true;
}

/* By name, or by number where who is one. false: no such line. */
static bool find_user(struct str passwd, struct str who, struct str *ret_name, uint32_t *ret_uid, uint32_t *ret_gid) {
        struct str f[4];
        uint32_t want = 0, uid, gid;
        bool number = id_of(who, &want);

        while (db_line(&passwd, f)) {
                if (!id_of(f[2], &uid) || !id_of(f[3], &gid))
                        continue;
                if (!str_eq(f[0], who) && !(number && uid == want))
                        continue;
                *ret_name = f[0];
                *ret_uid = uid;
                *ret_gid = gid;
                return true;
        }
        return false;
}

static bool find_group(struct str group, struct str name, uint32_t *ret) {
        struct str f[4];

        while (db_line(&group, f))
                if (str_eq(f[0], name) && id_of(f[2], ret))
                        return true;
        return false;
}

static void add_group(struct process_user *u, uint32_t gid) {
        for (size_t i = 0; i < u->n_groups; i++)
                if (u->groups[i] == gid)
                        return;
        if (u->n_groups < ARRAY_SIZE(u->groups))
                u->groups[u->n_groups++] = gid;
}

static void add_memberships(struct process_user *u, struct str group, struct str user) {
        struct str f[4];
        uint32_t gid;

        while (db_line(&group, f)) {
                str_each(one, f[3], ',')
                        if (str_eq(one, user) && id_of(f[2], &gid))
                                add_group(u, gid);
        }
}

static int resolve_image_user(struct str image_user, struct str passwd, struct str group, struct process_user *u,
                              struct str *ret_name, struct error *err) {
        struct str user = image_user, grp = STR("");
        ssize_t colon = str_find(image_user, ':');

        if (colon >= 0) {
                user = str_sub(image_user, 0, (size_t) colon);
                grp = str_sub(image_user, (size_t) colon + 1, image_user.n);
        }
        if (str_empty(user))
                user = STR("0");
        if (!find_user(passwd, user, ret_name, &u->uid, &u->gid) && !id_of(user, &u->uid))
                return error_set(err, -ENOENT, "unable to find user %" STR_FMT ": no matching entries in passwd file",
                                 STR_ARG(user));
        if (!str_empty(grp) && !id_of(grp, &u->gid) && !find_group(group, grp, &u->gid))
                return error_set(err, -ENOENT, "unable to find group %" STR_FMT ": no matching entries in group file",
                                 STR_ARG(grp));
        return 0;
}

int user_resolve(const char *rootfs, const struct json *security, struct str image_user, struct process_user *ret,
                 struct error *err) {
        const struct json *uid = json_getc(security, "runAsUser"), *gid = json_getc(security, "runAsGroup");
        _cleanup_buf_ struct buf passwd = BUF_INIT, group = BUF_INIT;
        struct str name = STR("");
        char number[16];

        *ret = (struct process_user) { 0 };
        TRY(read_db(rootfs, "etc/passwd", &passwd, err));
        TRY(read_db(rootfs, "etc/group", &group, err));
        if (json_is(uid, JSON_INT)) {
                snprintf(number, sizeof(number), "%u", (unsigned) json_int(uid));
                image_user = str_of(number);
        } else if (json_is(json_getc(security, "runAsUserName"), JSON_STRING))
                image_user = json_str(json_getc(security, "runAsUserName"));
        TRY(resolve_image_user(image_user, buf_str(&passwd), buf_str(&group), ret, &name, err));
        if (json_is(gid, JSON_INT))
                ret->gid = (uint32_t) json_int(gid);
        add_group(ret, ret->gid);
        if (!str_empty(name) && !str_eqc(json_str(json_getc(security, "supplementalGroupsPolicy")), "Strict"))
                add_memberships(ret, buf_str(&group), name);
        json_each_item(it, json_getc(security, "supplementalGroups"))
                add_group(ret, (uint32_t) json_int(it));
        if (json_is(json_getc(security, "fsGroup"), JSON_INT))
                add_group(ret, (uint32_t) json_int(json_getc(security, "fsGroup")));
        return 0;
}
