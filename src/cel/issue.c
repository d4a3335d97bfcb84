/* What is wrong with an expression, and where: as cel-go prints it. */
#include "cel/internal.h"

void issue_add(struct issues *is, uint32_t pos, const char *fmt, ...) {
        struct issue i = { .pos = pos };

        if (is->list.n >= 100)
                return;
        i.text = variadic(ap, fmt, arena_vprintf(is->arena, fmt, ap));
        vec_push(&is->list, i);
}

static int by_pos(const void *a, const void *b) {
        const struct issue *x = a, *y = b;

        return x->pos + 2 < y->pos + 2 ? -1 : x->pos + 2 > y->pos + 2; /* no places are before all */
}

/* "ERROR: <input>:1:5: text\n | source line\n | ....^" */
static void print_issue(struct buf *b, struct str source, const struct issue *i) {
        size_t at = 0, line_at = 0, end, line = 1, column = 0;

        if (i->pos == NO_PLACE)
                return buf_printf(b, "ERROR: <input>:-1:0: %" STR_FMT, STR_ARG(i->text));
        for (uint32_t k = 0; i->pos != START_PLACE && k < i->pos && at < source.n; k++, column++)
                if (utf8_next(source, &at) == '\n') {
                        line++;
                        line_at = at;
                        column = (size_t) -1;
                }
        for (end = line_at; end < source.n && source.p[end] != '\n'; end++)
                ;
        buf_printf(b, "ERROR: <input>:%zu:%zu: %" STR_FMT, line, i->pos == START_PLACE ? 0 : column + 1,
                   STR_ARG(i->text));
        if (source.n == 0 || utf8_count(str_sub(source, line_at, end)) > 16384)
                return;
        buf_addc(b, "\n | ");
        for (size_t k = line_at; k < end; k++)
                buf_putc(b, source.p[k] == '\t' ? ' ' : source.p[k]);
        buf_addc(b, "\n | ");
        for (at = line_at; column > 0 && at < end; column--) {
                size_t from = at;

                utf8_next(source, &at);
                buf_addc(b, at - from > 1 ? "\xef\xbc\x8e" : ".");
        }
        buf_addc(b, at < end && (unsigned char) source.p[at] >= 0x80 ? "\xef\xbc\xbe" : "^");
}

int issues_report(struct issues *is, struct error *err) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        size_t n = is->list.n;

        if (n > 0)
                qsort(is->list.v, n, sizeof(*is->list.v), by_pos);
        for (size_t i = 0; i < n; i++) {
                if (i > 0)
                        buf_putc(&b, '\n');
                print_issue(&b, is->source, &is->list.v[i]);
        }
        vec_free(&is->list);
        return n == 0 ? 0 : error_set(err, -EINVAL, "%" STR_FMT, STR_ARG(buf_str(&b)));
}
