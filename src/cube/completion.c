/* `cube version` and `cube completion`: the shell's scripts are made from the table of commands, so they are never
 * behind. */
#include "cube/cube.h"

static int version(struct flags *f, int argc, char **argv, struct error *err) {
        if (f->output && strcmp(f->output, "json") == 0)
                printf("{\"gitVersion\":\"%s\"}\n", CUBE_VERSION);
        else if (f->output)
                return error_set(err, -EINVAL, "--output: only json is known, not \"%s\"", f->output);
        else
                printf("cube %s\n", CUBE_VERSION);
        return 0;
}

static const struct flag version_flags[] = {
        { "output", FLAG_STRING, offsetof(struct flags, output), "FORMAT", "json (-o json)" },
        { NULL },
};
const struct command cmd_version = {
        .name = "version", .summary = "Prints the version", .run = version, .flags = version_flags
};

static void print_commands(void) {
        for (const struct command *const *c = commands; *c; c++)
                if (!(*c)->hidden)
                        printf("%s ", (*c)->name);
}

static void print_flags(const struct command *of) {
        for (const struct flag *f = of->flags; f && f->name; f++)
                printf("--%s ", f->name);
        printf("--name --data-dir --log-level --help");
}

static void bash(void) {
        printf("_cube() {\n  local cur=${COMP_WORDS[COMP_CWORD]}\n  if [ \"$COMP_CWORD\" = 1 ]; then\n    "
               "COMPREPLY=($(compgen -W \"");
        print_commands();
        printf("\" -- \"$cur\"))\n    return\n  fi\n  case ${COMP_WORDS[1]} in\n");
        for (const struct command *const *c = commands; *c; c++) {
                if ((*c)->hidden)
                        continue;
                printf("  %s) COMPREPLY=($(compgen -W \"", (*c)->name);
                if ((*c)->args)
                        for (const char *p = (*c)->args; *p && *p != ' '; p++)
                                putchar(*p == '|' ? ' ' : *p);
                putchar(' ');
                print_flags(*c);
                printf("\" -- \"$cur\")) ;;\n");
        }
        printf("  esac\n}\ncomplete -o default -F _cube cube\n");
}

static void zsh(void) {
        printf("#compdef cube\nautoload -U +X bashcompinit && bashcompinit\n");
        bash();
}

static void fish(void) {
        for (const struct command *const *c = commands; *c; c++) {
                if ((*c)->hidden)
                        continue;
                printf("complete -c cube -n __fish_use_subcommand -f -a %s -d '%s'\n", (*c)->name, (*c)->summary);
                for (const struct flag *f = (*c)->flags; f && f->name; f++)
                        printf("complete -c cube -n '__fish_seen_subcommand_from %s' -l %s%s -d '%s'\n", (*c)->name,
                               f->name, f->type == FLAG_BOOL ? "" : " -r", f->help);
        }
}

static int completion(struct flags *f, int argc, char **argv, struct error *err) {
        static const struct {
                const char *name;
                void (*print)(void);
        } shells[] = { { "bash", bash }, { "zsh", zsh }, { "fish", fish } };
        for (size_t i = 0; i < ARRAY_SIZE(shells); i++)
                if (strcmp(shells[i].name, argv[0]) == 0) {
                        shells[i].print();
                        return 0;
                }
        return error_set(err, -EINVAL, "\"%s\" is none of bash, zsh, fish", argv[0]);
}

const struct command cmd_completion = { .name = "completion",
                                        .args = "bash|zsh|fish",
                                        .summary = "Prints a completion script for a shell",
                                        .run = completion,
                                        .min_args = 1,
                                        .max_args = 1 };
