/* Writers of one object that do not name its revision take turns once they have met each other: of a hundred that try
 * at once one gets through and the others have worked in vain, again and again, until somebody runs out of attempts.
 *
 *   patch ─▶ store ─▶ conflict ─▶ conflict ─▶ turn_wait ─▶ whoever has the turn tries until it is through
 *                                                └─ the others ◀── one by one, as they came ──┘
 *
 * Who meets nobody never comes here. */
#include "base/lock.h"
#include "apiserver/server.h"

struct turns {
        struct list waiting; /* of op.turn; the one whose turn it is has left it */
};

static void turn_comes(struct loop_work *w) {
        struct op *op = container_of(w, struct op, turn_work);

        op_refresh(op);
        op->again(op);
}

bool turn_wait(struct op *op) {
        struct apiserver *s = op->s;
        bool waits = false;

        if (op->has_turn || !op->c->loop)
                return false;
        with_lock(&s->turns_lock) {
                struct turns *t = map_get(s->turns, op->key);
                if (!t) {
                        t = xcalloc(1, sizeof(*t));
                        list_init(&t->waiting);
                        map_put(s->turns, op->key, t);
                        op->has_turn = true;
                } else {
                        waits = true;
                        op->turn_work.run = turn_comes;
                        list_push(&t->waiting, &op->turn);
                }
        }
        return waits; /* op may be gone */
}

void turn_end(struct op *op) {
        struct apiserver *s = op->s;
        struct op *next = NULL;

        if (!op->has_turn)
                return;
        op->has_turn = false;
        with_lock(&s->turns_lock) {
                struct turns *t = map_get(s->turns, op->key);
                if (list_empty(&t->waiting)) {
                        map_remove(s->turns, op->key);
                } else {
                        next = container_of(t->waiting.next, struct op, turn);
                        list_del(&next->turn);
                        next->has_turn = true;
                }
        }
        if (next)
                loop_post(next->c->loop, &next->turn_work);
}
