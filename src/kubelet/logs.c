#include "kubelet/logs.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

#define BLOCK 16384

bool log_parse(struct str line, struct log_line *ret) {
        ssize_t a = str_find(line, ' '), b, c;

        if (a <= 0)
                return false;
        struct str rest = str_sub(line, (size_t) a + 1, line.n);
        b = str_find(rest, ' ');
        if (b <= 0)
                return false;
        ret->time = str_sub(line, 0, (size_t) a);
        ret->stream = str_sub(rest, 0, (size_t) b);
        if (!str_eqc(ret->stream, "stdout") && !str_eqc(ret->stream, "stderr"))
                return false;
        rest = str_sub(rest, (size_t) b + 1, rest.n);
        c = str_find(rest, ' ');
        struct str tags = c < 0 ? rest : str_sub(rest, 0, (size_t) c);
        ret->text = c < 0 ? STR("") : str_sub(rest, (size_t) c + 1, rest.n);
        ret->partial = tags.n >= 1 && tags.p[0] == 'P' && (tags.n == 1 || tags.p[1] == ':');
        return tags.n > 0;
}

/* Backwards in blocks, counting newlines; the part of a long line counts as a line, as upstream counts. */
int64_t log_tail_offset(int fd, int64_t lines) {
        int64_t size = lseek(fd, 0, SEEK_END), end = size, found = 0;
        char block[BLOCK];

        if (size < 0)
                return -1;
        if (lines <= 0)
                return size;
        while (end > 0) {
                int64_t start = end > BLOCK ? end - BLOCK : 0;
                ssize_t n = pread(fd, block, (size_t) (end - start), start);

                if (n < 0)
                        return -1;
                for (ssize_t i = n - 1; i >= 0; i--)
                        if (block[i] == '\n' && start + i != size - 1 && ++found == lines)
                                return start + i + 1;
                end = start;
        }
        return 0;
}

void log_tail_plain(const char *path, size_t lines, size_t bytes, struct buf *dst) {
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        _cleanup_buf_ struct buf text = BUF_INIT;
        int64_t at = fd < 0 ? -1 : log_tail_offset(fd, (int64_t) lines);
        ssize_t n;

        if (at < 0)
                return;
        do {
                n = pread(fd, buf_reserve(&text, BLOCK), BLOCK, at);
                if (n > 0) {
                        text.n += (size_t) n;
                        at += n;
                }
        } while (n > 0 && text.n < (1 << 20));
        str_each(line, buf_str(&text), '\n') {
                struct log_line l;

                if (!log_parse(line, &l))
                        continue;
                buf_add_str(dst, l.text);
                if (!l.partial)
                        buf_putc(dst, '\n');
        }
        if (dst->n > bytes)
                buf_consume(dst, dst->n - bytes);
}

int64_t log_newest(const char *dir, int64_t before) {
        _cleanup_(closedirp) DIR *d = opendir(dir);
        int64_t newest = -1, n;

        dir_each(e, d) {
                struct str rest = str_of(e->d_name), number;

                if (str_split(&rest, '.', &number) && str_has_prefix(rest, STR("log")) && str_to_i64(number, &n) == 0 &&
                    n < before)
                        newest = MAX(newest, n);
        }
        return newest;
}
