/* cube: one program, many roles. This file finds the subcommand, reads its flags from its table, and runs it. */
#include <signal.h>
#include <unistd.h>

#include "apiserver/flags.h"
#include "base/log.h"
#include "base/time.h"
#include "cube/cube.h"

extern const struct command cmd_start, cmd_stop, cmd_delete, cmd_status, cmd_pause, cmd_unpause, cmd_ip, cmd_kubeconfig,
                cmd_logs, cmd_image, cmd_version, cmd_completion, cmd_server, cmd_apiserver, cmd_controllers,
                cmd_scheduler, cmd_kubelet, cmd_proxy, cmd_dns, cmd_supervise;

const struct command *const commands[] = {
        &cmd_start,       &cmd_stop,      &cmd_delete,  &cmd_status,  &cmd_pause,      &cmd_unpause,   &cmd_ip,
        &cmd_kubeconfig,  &cmd_logs,      &cmd_image,   &cmd_version, &cmd_completion, &cmd_server,    &cmd_apiserver,
        &cmd_controllers, &cmd_scheduler, &cmd_kubelet, &cmd_proxy,   &cmd_dns,        &cmd_supervise, NULL,
};

static const struct flag common_flags[] = {
        { "name", FLAG_STRING, offsetof(struct flags, name), "NAME", "the cluster's name (default cube)" },
        { "data-dir", FLAG_STRING, offsetof(struct flags, data_dir), "DIR",
          "where it keeps everything (default /var/lib/cube, or /var/lib/cube-NAME)" },
        { "log-level", FLAG_STRING, offsetof(struct flags, log_level), "LEVEL",
          "error, warn, info or debug (default info)" },
        { NULL },
};

static void print_flags(FILE *to, const struct flag *flags) {
        for (const struct flag *f = flags; f && f->name; f++) {
                char head[64];
                snprintf(head, sizeof(head), "--%s%s%s", f->name, f->arg ? " " : "", f->arg ? f->arg : "");
                fprintf(to, "  %-24s %s\n", head, f->help);
        }
}

static void print_usage(FILE *to) {
        fputs("Kubernetes, whole, in one small program.\n\nUsage: cube COMMAND [FLAGS] [ARGS]\n\nCommands:\n", to);
        for (const struct command *const *c = commands; *c; c++)
                if (!(*c)->hidden)
                        fprintf(to, "  %-20s %s\n", (*c)->name, (*c)->summary);
        fputs("\n`cube COMMAND --help` tells a command's flags.\n", to);
}

static void print_command_usage(FILE *to, const struct command *c) {
        fprintf(to, "%s\n\nUsage: cube %s [FLAGS]%s%s\n\nFlags:\n", c->summary, c->name, c->args ? " " : "",
                c->args ? c->args : "");
        print_flags(to, c->flags);
        for (const struct apiserver_flag *f = apiserver_flags; c->apiserver && f->name; f++)
                fprintf(to, "  --%s %s\n%27s%s\n", f->name, f->arg, "", f->help);
        print_flags(to, common_flags);
}

static bool is_apiserver(const struct command *c) {
        return c == &cmd_apiserver;
}

static const struct flag *find_flag(const struct flag *flags, struct str name) {
        for (const struct flag *f = flags; f && f->name; f++)
                if (str_eqc(name, f->name))
                        return f;
        return NULL;
}

static int set_flag(struct flags *values, const struct flag *f, const char *text, struct error *err) {
        void *at = (char *) values + f->offset;
        uint64_t n;
        int64_t ns;
        switch (f->type) {
        case FLAG_BOOL:
                if (text && strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
                        return error_set(err, -EINVAL, "--%s takes true or false, not \"%s\"", f->name, text);
                *(bool *) at = !text || strcmp(text, "true") == 0;
                return 0;
        case FLAG_STRING:
                *(const char **) at = text;
                return 0;
        case FLAG_PORT:
                if (str_to_u64(str_of(text), &n) < 0 || n < 1 || n > 65535)
                        return error_set(err, -EINVAL, "--%s: \"%s\" is not a port (1 to 65535)", f->name, text);
                *(uint16_t *) at = (uint16_t) n;
                return 0;
        case FLAG_DURATION:
                if (duration_parse(str_of(text), &ns) < 0 || ns < 0)
                        return error_set(err, -EINVAL, "--%s: \"%s\" is not a duration such as 30s or 2m", f->name,
                                         text);
                *(int64_t *) at = ns / NSEC_PER_MSEC;
                return 0;
        }
        return 0;
}

/* What kube-apiserver calls by other names than the rest of Cube, with the kinds of values; NULL: it does not. */
static const char *const *our_name(struct str name) {
        static const char *const names[][3] = { { "advertise-address", "node-ip", "IP" },
                                                { "secure-port", "api-port", "N" },
                                                { "service-cluster-ip-range", "service-cidr", "LIST" } };
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                if (str_eqc(name, names[i][0]))
                        return names[i];
        return NULL;
}

/* One of those, which is read as kube-apiserver reads it. */
static int set_renamed(struct flags *values, const struct flag *f, const char *const *names, const char *text,
                       struct error *err) {
        _cleanup_buf_ struct buf value = BUF_INIT;
        int64_t n;
        TRY(apiserver_flag_read(str_of(names[0]), names[2], text, &value, err));
        if (f->type == FLAG_PORT && (str_to_i64(buf_str(&value), &n) < 0 || n < 1 || n > 65535))
                return error_set(err, -EINVAL,
                                 "--%s %" STR_FMT
                                 " must be between 1 and 65535, inclusive. It cannot be turned off with 0",
                                 names[0], STR_ARG(buf_str(&value)));
        return set_flag(values, f, text, err);
}

static int add_apiserver_flag(struct flags *values, struct str name, const char *text, struct error *err) {
        _cleanup_buf_ struct buf lines = BUF_INIT;
        buf_addc(&lines, values->apiserver ? values->apiserver : "");
        TRY(apiserver_flag_add(name, text, &lines, err));
        free(values->apiserver);
        values->apiserver = str_dup(buf_str(&lines));
        return 0;
}

/* The API server's are told as kube-apiserver tells them. */
static int unknown(const struct command *c, const char *word, struct str name, struct error *err) {
        if (!is_apiserver(c))
                return error_set(err, -EINVAL, "unknown flag %s: see cube %s --help", word, c->name);
        if (!name.p)
                return error_set(err, -EINVAL, "unknown shorthand flag: '%c' in %s", word[1], word);
        if (name.n == 0 || name.p[0] == '-')
                return error_set(err, -EINVAL, "bad flag syntax: %s", word);
        return error_set(err, -EINVAL, "unknown flag: --%" STR_FMT, STR_ARG(name));
}

/* Takes the flags out of argv and leaves the arguments. -ECANCELED: help was asked for. */
static int parse_flags(const struct command *c, struct flags *values, int *argc, char **argv, struct error *err) {
        int n = 0;
        for (int i = 0; i < *argc; i++) {
                char *a = argv[i];
                if (strcmp(a, "--") == 0) {
                        while (++i < *argc)
                                argv[n++] = argv[i];
                        break;
                }
                if (strcmp(a, "-h") == 0 || strcmp(a, "--help") == 0)
                        return -ECANCELED;
                struct str name = str_of(a);
                if (strcmp(a, "-o") == 0)
                        name = STR("output");
                else if (strcmp(a, "-f") == 0)
                        name = STR("follow");
                else if (strcmp(a, "-n") == 0)
                        name = STR("name");
                else if (str_has_prefix(name, STR("--")))
                        name = str_sub(name, 2, name.n);
                else if (c->apiserver && a[0] == '-' && a[1] == 'v' && (a[2] == '=' || !a[2]))
                        name = str_sub(name, 1, name.n);
                else if (a[0] == '-' && a[1])
                        return unknown(c, a, (struct str) { 0 }, err);
                else {
                        argv[n++] = a;
                        continue;
                }
                ssize_t eq = str_find(name, '=');
                const char *text = eq >= 0 ? name.p + eq + 1 : NULL;
                if (eq >= 0)
                        name = str_sub(name, 0, (size_t) eq);
                const char *const *names = c->apiserver ? our_name(name) : NULL;
                const struct flag *f = find_flag(c->flags, names ? str_of(names[1]) : name);
                if (!f)
                        f = find_flag(common_flags, name);
                const char *arg = !f && c->apiserver ? apiserver_flag_arg(name) : NULL;
                if (!f && !arg)
                        return unknown(c, a, name, err);
                if (!f) {
                        if (!text && strcmp(arg, "BOOL") == 0)
                                text = "true";
                        if (!text && ++i >= *argc)
                                return error_set(err, -EINVAL, "flag needs an argument: %s", a);
                        TRY(add_apiserver_flag(values, name, text ? text : argv[i], err));
                        continue;
                }
                if (!text && f->type != FLAG_BOOL) {
                        if (++i >= *argc)
                                return error_set(err, -EINVAL, "--%s needs a value", f->name);
                        text = argv[i];
                }
                TRY(names ? set_renamed(values, f, names, text, err) : set_flag(values, f, text, err));
        }
        *argc = n;
        return 0;
}

static int no_arguments(int argc, char **argv, struct error *err) {
        _cleanup_buf_ struct buf all = BUF_INIT;
        for (int i = 0; i < argc; i++)
                buf_printf(&all, "%s\"%s\"", i ? " " : "", argv[i]);
        return error_set(err, -EINVAL, "\"cube apiserver\" does not take any arguments, got [%" STR_FMT "]",
                         STR_ARG(buf_str(&all)));
}

/* Handed on in the environment, so that `cube start` sets it for the server it starts. */
static int flags_apply_log_level(const struct flags *f, struct error *err) {
        static const char *const names[] = { "error", "warn", "info", "debug" };
        const char *level = f->log_level ? f->log_level : getenv("CUBE_LOG_LEVEL");
        if (!level)
                return 0;
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                if (strcmp(level, names[i]) == 0) {
                        log_set_level((enum log_level) i);
                        return setenv("CUBE_LOG_LEVEL", level, 1);
                }
        return error_set(err, -EINVAL, "--log-level: \"%s\" is none of error, warn, info, debug", level);
}

int main(int argc, char **argv) {
        signal(SIGPIPE, SIG_IGN);
        if (argc < 2 || strcmp(argv[1], "help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0) {
                print_usage(argc < 2 ? stderr : stdout);
                return argc < 2 ? 2 : 0;
        }
        const struct command *c = NULL;
        for (const struct command *const *i = commands; *i; i++)
                if (strcmp((*i)->name, argv[1]) == 0)
                        c = *i;
        if (!c) {
                fprintf(stderr, "cube: there is no command \"%s\": see cube --help\n", argv[1]);
                return 2;
        }

        if (argc == 3 && strcmp(argv[2], "--version") == 0) { /* as each of upstream's components */
                printf("Kubernetes %s\n", CUBE_VERSION);
                return 0;
        }

        _cleanup_error_ struct error err = ERROR_INIT;
        struct flags flags = { .wait_ms = 60000 };
        argc -= 2;
        argv += 2;
        int r = parse_flags(c, &flags, &argc, argv, &err);
        if (r == -ECANCELED) {
                print_command_usage(stdout, c);
                return 0;
        }
        if (r == 0)
                r = flags_apply_log_level(&flags, &err);
        if (r == 0 && argc > 0 && is_apiserver(c))
                r = no_arguments(argc, argv, &err);
        if (r == 0 && (argc < c->min_args || (c->max_args >= 0 && argc > c->max_args)))
                r = error_set(&err, -EINVAL, "wrong number of arguments: usage: cube %s [FLAGS]%s%s", c->name,
                              c->args ? " " : "", c->args ? c->args : "");
        if (r < 0) {
                fprintf(stderr, "cube: %s\n", error_text(&err));
                return is_apiserver(c) ? 1 : 2; /* as kube-apiserver does */
        }
        if (c->root && geteuid() != 0) {
                fprintf(stderr, "cube: %s needs root: try sudo cube %s\n", c->name, c->name);
                return 1;
        }
        r = c->run(&flags, argc, argv, &err);
        free(flags.apiserver);
        if (r < 0) {
                fprintf(stderr, "cube: %s\n", error_text(&err));
                return 1;
        }
        return r;
}
