/* The writer is killed at any moment, again and again; or the power goes at any moment. What was acknowledged is there
 * afterwards, no transaction is there by half, and revisions only rise.
 *
 *   child:  step m of slot k (of 32) writes a/k and b/k in one transaction; every fifth deletes both
 *               │ (k, m, revision)
 *   parent: ◀───┘ kills it, reads the pipe to its end, opens the store: slot k must be in the state of the last step
 *           acknowledged, or of the one after it, which may have been written but not told
 *
 * For the power, this program stands between LMDB and the C library: it knows what the disk was told to keep
 * (fdatasync, O_DSYNC) and what it may have lost since, 512 bytes at a time. Images of such a disk, taken at random,
 * are opened afterwards. */
#include "help.h"

#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/rand.h"
#include "base/vec.h"

#define ROUNDS 200
#define SLOTS 32
#define MAX_IMAGES 150

struct ack {
        uint64_t revision;
        uint32_t slot, step;
};

struct slot {
        struct store_txn txn;
        struct store_op ops[2];
        char keys[2][8];
        uint32_t step; /* the last one done; 0: none yet */
        uint32_t last; /* no more after this one */
        int pipe;      /* -1: none */
        struct store *s;
};

static struct slot slots[SLOTS];
static struct counter finished = COUNTER_INIT;

static bool deletes(uint32_t step) {
        return step % 5 == 0;
}

static struct store *open_in(const char *dir) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct store *s;

        /* A small file, so that cleaning is under way all the time. */
        if (store_open(&(struct store_options) { .path = dir, .max_map_bytes = 8U << 20 }, &s, &err) < 0)
                fail_msg("%s", error_text(&err));
        return s;
}

static void next_step(struct slot *slot) {
        static char filler[1500];
        uint32_t step = slot->step + 1;

        memset(filler, 'f', sizeof(filler) - 1);
        for (int i = 0; i < 2; i++) {
                object_unref(slot->ops[i].object);
                slot->ops[i] = (struct store_op) {
                        .kind = deletes(step)         ? STORE_DELETE
                                : deletes(slot->step) ? STORE_CREATE
                                                      : STORE_UPDATE,
                        .key = str_of(slot->keys[i]),
                        .object = deletes(step) ? NULL
                                                : make_object("{\"metadata\":{},\"n\":%u,\"v\":\"%s\"}", step, filler),
                        .expect = STORE_ANY_REVISION,
                };
        }
        store_submit(slot->s, &slot->txn);
}

static void on_done(struct store_txn *t) {
        struct slot *slot = container_of(t, struct slot, txn);
        struct ack ack = { t->revision, (uint32_t) (slot - slots), slot->step + 1 };

        if (t->result != 0 || (slot->pipe >= 0 && write(slot->pipe, &ack, sizeof(ack)) != sizeof(ack)))
                abort();
        if (++slot->step < slot->last)
                next_step(slot);
        else
                counter_add(&finished);
}

static void name_slots(void) {
        memset(slots, 0, sizeof(slots));
        for (size_t k = 0; k < SLOTS; k++) {
                snprintf(slots[k].keys[0], sizeof(slots[k].keys[0]), "a/%zu", k);
                snprintf(slots[k].keys[1], sizeof(slots[k].keys[1]), "b/%zu", k);
        }
}

static void start_slots(struct store *s, int pipe, uint32_t last) {
        for (size_t k = 0; k < SLOTS; k++) {
                struct slot *slot = &slots[k];

                slot->s = s;
                slot->pipe = pipe;
                slot->last = last;
                slot->txn = (struct store_txn) { .ops = slot->ops, .n_ops = 2, .done = on_done };
                next_step(slot);
        }
}

static _Noreturn void run_child(const char *dir, int pipe) {
        start_slots(open_in(dir), pipe, UINT32_MAX);
        for (;;)
                pause();
}

/* The state of a slot: its step, 0 when both keys are absent. It fails when they differ. */
static uint32_t state_of(struct store *s, const struct slot *slot) {
        struct store_snapshot *snap = store_snapshot(s);
        struct object *a = store_get(snap, str_of(slot->keys[0])), *b = store_get(snap, str_of(slot->keys[1]));
        int64_t n = 0;

        assert_int_equal(a == NULL, b == NULL);
        if (a) {
                n = json_int(json_getc(object_json(a), "n"));
                assert_int_equal(json_int(json_getc(object_json(b), "n")), n);
                assert_int_equal(object_revision(a), object_revision(b));
                assert_true(object_revision(a) <= store_snapshot_revision(snap));
        }
        store_snapshot_unref(snap);
        return (uint32_t) n;
}

static void check_slot(struct store *s, struct slot *slot) {
        uint32_t state = state_of(s, slot), after = slot->step + 1;

        if (state == (deletes(slot->step) ? 0 : slot->step))
                return;
        if (state != (deletes(after) ? 0 : after))
                fail_msg("%s: step %u was acknowledged, the state is %u", slot->keys[0], slot->step, state);
        slot->step = after;
}

/* Returns the number of acknowledgements read, at most that many; *max_revision is the highest. */
static size_t read_acks(int fd, size_t most, uint64_t min_revision, uint64_t *max_revision) {
        struct ack ack;
        size_t n = 0;

        for (; n < most && read(fd, &ack, sizeof(ack)) == sizeof(ack); n++) {
                assert_true(ack.revision > min_revision && ack.revision > *max_revision);
                assert_int_equal(ack.step, slots[ack.slot].step + 1);
                slots[ack.slot].step = ack.step;
                *max_revision = ack.revision;
        }
        return n;
}

static void acknowledged_writes_survive_being_killed(void **state) {
        char *dir = make_dir();
        uint64_t revision = 0;
        size_t acks = 0, rounds_with_acks = 0;

        name_slots();
        for (int round = 0; round < ROUNDS; round++) {
                uint64_t acked = 0;
                int fds[2], status;
                struct store *s;
                size_t n = 0;
                pid_t pid;

                assert_int_equal(pipe(fds), 0);
                pid = fork();
                assert_true(pid >= 0);
                if (pid == 0) {
                        close(fds[0]);
                        run_child(dir, fds[1]);
                }
                close(fds[1]);
                /* After a while, maybe before it has opened the store; or after some acknowledgements and a bit. */
                if (round % 2)
                        usleep((useconds_t) rand_below(20000));
                else {
                        n = read_acks(fds[0], 1 + rand_below(500), revision, &acked);
                        usleep((useconds_t) rand_below(1000));
                }
                kill(pid, SIGKILL);
                n += read_acks(fds[0], SIZE_MAX, revision, &acked);
                close(fds[0]);
                waitpid(pid, &status, 0);
                assert_true(WIFSIGNALED(status));

                s = open_in(dir);
                assert_true(store_revision(s) >= acked && store_revision(s) >= revision);
                revision = store_revision(s);
                for (size_t k = 0; k < SLOTS; k++)
                        check_slot(s, &slots[k]);
                store_close(s);
                acks += n;
                rounds_with_acks += n > 0;
        }
        print_message("%zu acknowledged transactions in %zu of %d lives\n", acks, rounds_with_acks, ROUNDS);
        assert_true(rounds_with_acks > ROUNDS / 4);
        remove_dir(dir);
}

/* ---- the power ---- */

struct lost_write {
        off_t at;
        struct buf bytes;
};

/* A disk image, and what had been acknowledged when it was taken. */
struct image {
        struct buf bytes;
        uint32_t steps[SLOTS];
        uint64_t revision;
};

static struct {
        bool on;
        struct stat file;
        struct buf kept; /* what the disk surely has */
        VEC(struct lost_write) pending;
        VEC(struct image) images;
        struct store *s;
} disk;

static void apply(struct buf *dst, off_t at, const void *p, size_t n) {
        size_t end = (size_t) at + n;

        if (end > dst->n) {
                memset(buf_reserve(dst, end - dst->n), 0, end - dst->n);
                dst->n = end;
        }
        memcpy(dst->p + at, p, n);
}

/* The power goes now: of what was not synced, some sectors are there. */
static void take_image(void) {
        struct image image = { .revision = disk.s ? store_revision(disk.s) : 0 };
        uint64_t luck = rand_below(4); /* 0: none of it, 1: all of it, else: a coin for each sector */

        buf_add_str(&image.bytes, buf_str(&disk.kept));
        for (size_t i = 0; i < disk.pending.n; i++) {
                const struct lost_write *w = &disk.pending.v[i];

                for (size_t k = 0; k < w->bytes.n; k += 512)
                        if (luck == 1 || (luck > 1 && rand_below(2)))
                                apply(&image.bytes, w->at + (off_t) k, w->bytes.p + k, MIN(512, w->bytes.n - k));
        }
        for (size_t k = 0; k < SLOTS; k++)
                image.steps[k] = slots[k].step;
        vec_push(&disk.images, image);
}

static bool is_the_file(int fd) {
        struct stat st;

        return disk.on && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 && st.st_ino != 0 &&
               (disk.file.st_ino == 0 || st.st_ino == disk.file.st_ino);
}

static void on_write(int fd, off_t at, const void *p, size_t n) {
        struct lost_write w = { .at = at };

        if (!is_the_file(fd))
                return;
        fstat(fd, &disk.file);
        if (disk.images.n < MAX_IMAGES && (disk.images.n < 5 || rand_below(3) == 0))
                take_image();
        if (fcntl(fd, F_GETFL) & O_DSYNC) {
                apply(&disk.kept, at, p, n);
                return;
        }
        buf_add(&w.bytes, p, n);
        vec_push(&disk.pending, w);
}

static void forget_pending(bool keep) {
        for (size_t i = 0; i < disk.pending.n; i++) {
                struct lost_write *w = &disk.pending.v[i];

                if (keep)
                        apply(&disk.kept, w->at, w->bytes.p, w->bytes.n);
                buf_free(&w->bytes);
        }
        disk.pending.n = 0;
}

/* Under both names that libraries know it by. */
ssize_t spy_pwrite(int fd, const void *p, size_t n, off_t at) __asm__("pwrite");
ssize_t spy_pwrite64(int fd, const void *p, size_t n, off_t at) __asm__("pwrite64") __attribute__((alias("pwrite")));

ssize_t spy_pwrite(int fd, const void *p, size_t n, off_t at) {
        ssize_t r = syscall(SYS_pwrite64, fd, p, n, at);

        if (r > 0)
                on_write(fd, at, p, (size_t) r);
        return r;
}

ssize_t writev(int fd, const struct iovec *iov, int n) {
        ssize_t r = syscall(SYS_writev, fd, iov, n), left = r;

        if (r > 0 && is_the_file(fd)) {
                off_t at = lseek(fd, 0, SEEK_CUR) - r;

                for (int i = 0; i < n && left > 0; i++) {
                        on_write(fd, at, iov[i].iov_base, MIN((size_t) left, iov[i].iov_len));
                        at += (off_t) iov[i].iov_len;
                        left -= (ssize_t) iov[i].iov_len;
                }
        }
        return r;
}

int fdatasync(int fd) {
        int r = (int) syscall(SYS_fdatasync, fd);

        if (r == 0 && is_the_file(fd)) {
                if (disk.images.n < MAX_IMAGES && rand_below(3) == 0)
                        take_image();
                forget_pending(true);
        }
        return r;
}

static void check_image(const struct image *image) {
        char *dir = make_dir();
        _cleanup_free_ char *path = xprintf("%s/data.mdb", dir);
        struct store *s;

        assert_int_equal(file_write(path, buf_str(&image->bytes), 0600, NULL), 0);
        s = open_in(dir);
        assert_true(store_revision(s) >= image->revision);
        for (size_t k = 0; k < SLOTS; k++) {
                slots[k].step = image->steps[k];
                check_slot(s, &slots[k]);
        }
        assert_int_equal(put_new(s, "new", make_object("{}"), NULL), 0);
        store_close(s);
        remove_dir(dir);
}

static void acknowledged_writes_survive_a_power_loss(void **state) {
        char *dir = make_dir();

        name_slots();
        disk.on = true;
        disk.s = open_in(dir);
        start_slots(disk.s, -1, 40);
        counter_wait(&finished, SLOTS);
        store_close(disk.s);
        disk.on = false;
        assert_true(disk.images.n > 30);
        for (size_t i = 0; i < disk.images.n; i++) {
                check_image(&disk.images.v[i]);
                buf_free(&disk.images.v[i].bytes);
        }
        print_message("%zu disk images\n", disk.images.n);
        forget_pending(false);
        buf_free(&disk.kept);
        vec_free(&disk.pending);
        vec_free(&disk.images);
        for (size_t k = 0; k < SLOTS; k++)
                for (int i = 0; i < 2; i++)
                        object_unref(TAKE_PTR(slots[k].ops[i].object));
        remove_dir(dir);
}

int main(void) {
        const struct CMUnitTest tests[] = { cmocka_unit_test(acknowledged_writes_survive_being_killed),
                                            cmocka_unit_test(acknowledged_writes_survive_a_power_loss) };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
