/* Two ways to run a program over a text, with one answer: the match that begins first, and of those the one that trying
 * the choices in their order would come to first.
 *
 *  - Try them in their order, depth first, and remember each place (instruction, position) that led to nothing: a bit
 *    each. Quick, while the bits are few.
 *  - Over the text once, with a list of all the threads that are alive, best first. For everything else.
 *
 * Both do at most program × text steps. */
#include "base/regex.h"

#include <ctype.h>

#include "base/regex_program.h"
#include "base/utf8.h"

#define MAX_BITS (64 << 10)
#define MAX_WORK 100000000 /* steps */
#define ASKING 20          /* steps is what it takes to ask PCRE2 about a character */

int regex_compile(struct str pattern, struct regex **ret, struct error *err) {
        _cleanup_(regex_freep) struct regex *re = xcalloc(1, sizeof(*re));

        TRY(regex_parse(pattern, re, err));
        *ret = TAKE_PTR(re);
        return 0;
}

void regex_free(struct regex *re) {
        if (!re)
                return;
        for (size_t i = 0; i < re->classes.n; i++)
                regex_class_free(&re->classes.v[i]);
        vec_free(&re->classes);
        vec_free(&re->code);
        free(re);
}

struct search {
        const struct regex *re;
        struct str s;
        size_t from, work;
        bool any;          /* will do */
        size_t start, end; /* what was found */
};

static bool is_word(struct str s, size_t at) {
        return at < s.n && (isalnum((unsigned char) s.p[at]) || s.p[at] == '_');
}

static bool is_newline(struct str s, size_t at) {
        return at < s.n && s.p[at] == '\n';
}

/* Does the assertion hold there? */
static bool holds(enum regex_op op, struct str s, size_t at) {
        switch (op) {
        case REGEX_TEXT_START:
                return at == 0;
        case REGEX_TEXT_END:
                return at == s.n;
        case REGEX_LINE_START:
                return at == 0 || is_newline(s, at - 1);
        case REGEX_LINE_END:
                return at == s.n || is_newline(s, at);
        default:
                return (is_word(s, at - 1) != is_word(s, at)) == (op == REGEX_WORD_EDGE);
        }
}

static bool takes(struct search *m, struct regex_inst in, uint32_t c) {
        const struct regex_class *class;

        switch ((enum regex_op) in.op) {
        case REGEX_CHAR:
                return c == (uint32_t) in.arg;
        case REGEX_FOLD:
                return regex_fold(c) == (uint32_t) in.arg;
        case REGEX_CLASS:
                class = &m->re->classes.v[in.arg];
                if (c < 128)
                        return class->ascii[c / 64] >> c % 64 & 1;
                m->work += class->unicode ? ASKING : class->ranges.n;
                return regex_class_has(class, c);
        case REGEX_ANY_BUT_NEWLINE:
                return c != '\n';
        default:
                return true;
        }
}

/* ---- depth first ---- */

struct job {
        uint32_t pc, at;
};

typedef VEC(struct job) job_stack;

static bool match_at(struct search *m, size_t start, uint64_t *seen, job_stack *jobs) {
        const struct regex_inst *code = m->re->code.v;
        struct str s = m->s;

        for (size_t pc = 0, at = start;;) {
                for (bool go = true; go; m->work++) {
                        struct regex_inst in = code[pc];
                        size_t bit = (at - m->from) * m->re->code.n + pc;

                        if (seen[bit / 64] >> bit % 64 & 1)
                                break;
                        seen[bit / 64] |= 1ULL << bit % 64;
                        switch ((enum regex_op) in.op) {
                        case REGEX_MATCH:
                                m->start = start;
                                m->end = at;
                                return true;
                        case REGEX_SPLIT:
                                vec_push(jobs, (struct job) { (uint32_t) (pc + (size_t) in.arg), (uint32_t) at });
                                pc++;
                                break;
                        case REGEX_LEAP:
                                vec_push(jobs, (struct job) { (uint32_t) pc + 1, (uint32_t) at });
                                pc += (size_t) in.arg;
                                break;
                        case REGEX_JUMP:
                                pc += (size_t) in.arg;
                                break;
                        case REGEX_CHAR:
                        case REGEX_FOLD:
                        case REGEX_CLASS:
                        case REGEX_ANY:
                        case REGEX_ANY_BUT_NEWLINE:
                                go = at < s.n && takes(m, in, utf8_next(s, &at));
                                pc++;
                                break;
                        default:
                                go = holds(in.op, s, at);
                                pc++;
                        }
                }
                if (jobs->n == 0)
                        return false;
                pc = vec_pop(jobs).pc;
                at = jobs->v[jobs->n].at;
        }
}

/* The first place from at on where a match may begin, as far as its first character tells. */
static size_t next_start(const struct search *m, size_t at) {
        struct regex_inst first = m->re->code.v[0];

        if (first.op != REGEX_CHAR || first.arg >= 0x80 || at >= m->s.n)
                return at;
        const char *p = memchr(m->s.p + at, first.arg, m->s.n - at);
        return p ? (size_t) (p - m->s.p) : m->s.n;
}

static bool search_deep(struct search *m, size_t bits) {
        uint64_t seen[MAX_BITS / 64 + 1];
        job_stack jobs = { 0 };
        bool found = false;

        memset(seen, 0, (bits / 64 + 1) * sizeof(*seen));
        for (size_t at = next_start(m, m->from);; at = next_start(m, at)) {
                found = match_at(m, at, seen, &jobs);
                if (found || at >= m->s.n || m->re->code.v[0].op == REGEX_TEXT_START)
                        break;
                utf8_next(m->s, &at);
        }
        vec_free(&jobs);
        return found;
}

/* ---- breadth first ---- */

struct thread {
        uint32_t pc;
        size_t start;
};

struct threads {
        struct thread *v;
        size_t n;
};

struct wide {
        struct search *m;
        struct threads now, next;
        size_t *seen;    /* for each instruction: one more than where it was last entered */
        uint32_t *stack; /* of instructions to go on with */
};

/* A thread that is at pc goes on until it would read. */
static void add_thread(struct wide *w, struct threads *list, size_t at, size_t pc, size_t start) {
        const struct regex_inst *code = w->m->re->code.v;
        size_t n = 0;

        w->stack[n++] = (uint32_t) pc;
        while (n > 0) {
                pc = w->stack[--n];
                while (w->seen[pc] != at + 1) {
                        struct regex_inst in = code[pc];

                        w->seen[pc] = at + 1;
                        w->m->work++;
                        if (in.op == REGEX_SPLIT) {
                                w->stack[n++] = (uint32_t) (pc + (size_t) in.arg);
                                pc++;
                        } else if (in.op == REGEX_LEAP) {
                                w->stack[n++] = (uint32_t) pc + 1;
                                pc += (size_t) in.arg;
                        } else if (in.op == REGEX_JUMP) {
                                pc += (size_t) in.arg;
                        } else if (in.op < REGEX_SPLIT) {
                                list->v[list->n++] = (struct thread) { (uint32_t) pc, start };
                                break;
                        } else if (holds(in.op, w->m->s, at)) {
                                pc++;
                        } else {
                                break;
                        }
                }
        }
}

static bool search_wide(struct search *m) {
        size_t n = m->re->code.n, at = m->from, next;
        _cleanup_free_ struct thread *one = xmalloc(n * sizeof(*one)), *two = xmalloc(n * sizeof(*two));
        _cleanup_free_ size_t *seen = xcalloc(n, sizeof(*seen));
        _cleanup_free_ uint32_t *stack = xmalloc((n + 1) * sizeof(*stack));
        struct wide w = { m, { one, 0 }, { two, 0 }, seen, stack };
        bool found = false;

        for (;; at = next) {
                bool begin = !found && (at == 0 || m->re->code.v[0].op != REGEX_TEXT_START);
                uint32_t c = 0;

                if (begin && w.now.n == 0)
                        at = next_start(m, at);
                if (begin)
                        add_thread(&w, &w.now, at, 0, at);
                if ((w.now.n == 0 && !begin) || m->work > MAX_WORK)
                        break;
                next = at;
                if (at < m->s.n)
                        c = utf8_next(m->s, &next);
                w.next.n = 0;
                for (size_t i = 0; i < w.now.n; i++) {
                        struct thread t = w.now.v[i];

                        if (m->re->code.v[t.pc].op == REGEX_MATCH) {
                                m->start = t.start;
                                m->end = at;
                                found = true;
                                if (m->any)
                                        return true;
                                break; /* what is worse need not go on */
                        }
                        if (at < m->s.n && takes(m, m->re->code.v[t.pc], c))
                                add_thread(&w, &w.next, next, t.pc + 1, t.start);
                }
                if (at == m->s.n)
                        break;
                struct threads last = w.now;
                w.now = w.next;
                w.next = last;
        }
        return found;
}

static int search(struct search *m) {
        size_t bits = m->re->code.n * (m->s.n - m->from + 1);
        bool found = bits <= MAX_BITS ? search_deep(m, bits) : search_wide(m);

        return m->work > MAX_WORK ? -E2BIG : found;
}

int regex_match(const struct regex *re, struct str s) {
        return search(&(struct search) { .re = re, .s = s, .any = true });
}

int regex_find(const struct regex *re, struct str s, size_t from, size_t *work, size_t *ret_start, size_t *ret_end) {
        struct search m = { .re = re, .s = s, .from = from, .work = *work };
        int r = search(&m);

        *work = m.work;
        if (r > 0) {
                *ret_start = m.start;
                *ret_end = m.end;
        }
        return r;
}
