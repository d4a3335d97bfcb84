#include "base/faults.h"

#include <stdarg.h>

#include "base/arena.h"

void fault_add(struct faults *f, const char *fmt, ...) {
        _cleanup_free_ char *text = variadic(ap, fmt, xvprintf(fmt, ap)), *one = xprintf(", %s, ", text);
        _cleanup_free_ char *all = xprintf(", %" STR_FMT ", ", STR_ARG(str_sub(buf_str(&f->text), 1, f->text.n - 1)));

        if (f->n && strstr(all, one))
                return;
        f->text.n -= f->n > 0; /* the bracket */
        buf_printf(&f->text, "%s%s]", f->n++ ? ", " : "[", text);
}

struct str faults_text(const struct faults *f) {
        return f->n == 1 ? str_sub(buf_str(&f->text), 1, f->text.n - 1) : buf_str(&f->text);
}

int faults_finish(struct faults *f, struct error *err) {
        int r = f->n ? error_set(err, -EINVAL, "%" STR_FMT, STR_ARG(faults_text(f))) : 0;

        faults_clear(f);
        return r;
}

void faults_clear(struct faults *f) {
        buf_free(&f->text);
        f->n = 0;
}
