/* What the node reads of others: container logs and how many of their lines are the last ones, $(VARIABLES), registry
 * credentials. The first byte says which. */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kubelet/credentials.h"
#include "kubelet/internal.h"
#include "kubelet/logs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok) {
        if (!ok)
                abort();
}

static void fuzz_logs(struct str text, int64_t lines) {
        _cleanup_close_ int fd = memfd_create("log", MFD_CLOEXEC);
        struct str rest = text, line;
        struct log_line l;
        int64_t at, newlines = 0;

        while (str_split(&rest, '\n', &line))
                if (log_parse(line, &l))
                        check(l.time.n + l.stream.n + l.text.n <= line.n);
        check(write(fd, text.p, text.n) == (ssize_t) text.n);
        at = log_tail_offset(fd, lines);
        check(at >= 0 && at <= (int64_t) text.n);
        for (int64_t i = at; i < (int64_t) text.n; i++)
                newlines += text.p[i] == '\n';
        check(newlines <= lines);
        check(at == 0 || text.p[at - 1] == '\n' || at == (int64_t) text.n);
}

static void fuzz_expansion(struct str text) {
        const struct str env[][2] = { { STR("A"), STR("one") }, { STR("B"), STR("") } };
        struct arena *a = arena_new(0);

        check(env_expand(a, text, env, 2).n <= text.n + text.n / 4 * 3 + 3);
        arena_free(a);
}

static void fuzz_credentials(struct str text) {
        struct json_parse_opts opts = { .max_depth = 32 };
        struct arena *a = arena_new(0);
        struct registry_auth *auths;
        struct json *config;
        size_t n;

        if (json_parse(a, text, &opts, &config, NULL) == 0)
                credentials_of_config(a, config, STR("registry.example.com:5000/team/app:1"), &auths, &n);
        arena_free(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct str text;

        if (size < 2)
                return 0;
        text = str_n((const char *) data + 1, size - 1);
        switch (data[0] % 4) {
        case 0:
        case 1:
                fuzz_logs(text, data[0] >> 2);
                break;
        case 2:
                fuzz_expansion(text);
                break;
        default:
                fuzz_credentials(text);
        }
        return 0;
}
