/* The writer is killed at any moment, again and again: what was acknowledged is there afterwards, no transaction is there by half,
 * and revisions only rise.
 *
 *   child:  32 slots; step m of slot k writes a/k and b/k in one transaction (every fifth deletes both) ── (k, m, revision) ──▶ pipe
 *   parent: kills it, reads the pipe to its end, opens the store: slot k must be in the state of the last step acknowledged,
 *           or of the one after it, which may have been written but not told */
#include "help.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/rand.h"

#define ROUNDS 200
#define SLOTS 32

struct ack {
        uint64_t revision;
        uint32_t slot, step;
};

struct slot {
        struct store_txn txn;
        struct store_op ops[2];
        char keys[2][8];
        uint32_t step; /* the last one done; 0: none yet */
        int pipe;
        struct store *s;
};

static struct slot slots[SLOTS];

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
                        .kind = deletes(step) ? STORE_DELETE : deletes(slot->step) ? STORE_CREATE : STORE_UPDATE,
                        .key = str_of(slot->keys[i]),
                        .object = deletes(step) ? NULL : make_object("{\"metadata\":{},\"n\":%u,\"v\":\"%s\"}", step, filler),
                        .expect = STORE_ANY_REVISION,
                };
        }
        store_submit(slot->s, &slot->txn);
}

static void on_done(struct store_txn *t) {
        struct slot *slot = container_of(t, struct slot, txn);
        struct ack ack = { t->revision, (uint32_t) (slot - slots), slot->step + 1 };

        if (t->result != 0 || write(slot->pipe, &ack, sizeof(ack)) != sizeof(ack))
                _exit(3);
        slot->step++;
        next_step(slot);
}

static _Noreturn void run_child(const char *dir, int pipe) {
        struct store *s = open_in(dir);

        for (size_t k = 0; k < SLOTS; k++) {
                struct slot *slot = &slots[k];

                slot->s = s;
                slot->pipe = pipe;
                slot->txn = (struct store_txn) { .ops = slot->ops, .n_ops = 2, .done = on_done };
                next_step(slot);
        }
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

/* Returns the number of acknowledgements, *max_revision the highest. */
static size_t read_acks(int fd, uint64_t min_revision, uint64_t *max_revision) {
        struct ack ack;
        size_t n = 0;

        for (; read(fd, &ack, sizeof(ack)) == sizeof(ack); n++) {
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

        for (size_t k = 0; k < SLOTS; k++) {
                snprintf(slots[k].keys[0], sizeof(slots[k].keys[0]), "a/%zu", k);
                snprintf(slots[k].keys[1], sizeof(slots[k].keys[1]), "b/%zu", k);
        }
        for (int round = 0; round < ROUNDS; round++) {
                uint64_t acked = 0;
                int fds[2], status;
                struct store *s;
                size_t n;
                pid_t pid;

                assert_int_equal(pipe(fds), 0);
                pid = fork();
                assert_true(pid >= 0);
                if (pid == 0) {
                        close(fds[0]);
                        run_child(dir, fds[1]);
                }
                close(fds[1]);
                usleep((useconds_t) rand_below(30000));
                kill(pid, SIGKILL);
                n = read_acks(fds[0], revision, &acked);
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

int main(void) {
        const struct CMUnitTest tests[] = { cmocka_unit_test(acknowledged_writes_survive_being_killed) };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
