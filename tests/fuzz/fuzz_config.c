/* What administrators write and plugins answer: the first byte says for which of the configuration's parsers the rest
 * is: AuthenticationConfiguration, AuthorizationConfiguration, EncryptionConfiguration, the CSV of tokens, a KMS
 * plugin's messages, ABAC's policies. */
#include <stdlib.h>
#include <unistd.h>

#include "apiserver/auth/abac.h"
#include "apiserver/auth/authn.h"
#include "apiserver/encryption/encryption.h"
#include "apiserver/encryption/kms.h"
#include "base/file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char path[64];
static struct apiserver *server;

/* A server whose flags name the file that each input is written to. */
static void start(void) {
        static char flags[2][128];
        static const char *const args[] = { flags[0], flags[1], NULL };
        struct apiserver_options o = { .advertise_address = "127.0.0.1" };

        snprintf(path, sizeof(path), "/tmp/fuzz-config-%d", getpid());
        if (store_open(&(struct store_options) { 0 }, &o.store, NULL) < 0 || apiserver_new(&o, &server, NULL) < 0)
                abort();
        snprintf(flags[0], sizeof(flags[0]), "authentication-config=%s", path);
        snprintf(flags[1], sizeof(flags[1]), "authorization-config=%s", path);
        server->options.args = args;
}

static void configurations(uint8_t which, struct str text) {
        _cleanup_error_ struct error e = ERROR_INIT;
        struct authorizers *z;
        struct encryption *x;
        struct authn_config *c;

        if (file_write(path, text, 0600, NULL) < 0)
                abort();
        if (which == 0 && authn_configure(server, &c, &e) == 0)
                authn_config_free(c);
        else if (which == 1 && authorizers_configure(server, &z, &e) == 0)
                authorizers_free(z);
        else if (which == 2 && !memmem(text.p, text.n, "kms", 3) && encryption_new(path, &x, &e) == 0)
                encryption_free(x);
}

static void policies(struct arena *a, struct str text) {
        static struct str group = STR_INIT("system:authenticated");
        const struct api_user user = { .name = STR("joe"), .groups = &group, .n_groups = 1 };
        const struct attributes at = { .verb = "get", .resource = STR("pods"), .namespace = STR("default") };
        struct json resources = json_new_array(), paths = json_new_array();
        const struct json *list;

        if (file_write(path, text, 0600, NULL) < 0)
                abort();
        if (abac_read(a, path, &list, NULL) < 0)
                return;
        abac_rules(list, a, &user, at.namespace, &resources, &paths);
        if (abac_allows(list, &user, &at) && json_len(&resources) == 0)
                abort();
}

static void tokens(struct arena *a, struct str text) {
        _cleanup_error_ struct error e = ERROR_INIT;
        struct map *users = map_new(NULL);
        struct map_iter it = MAP_ITER(users);

        (void) authn_parse_tokens(a, "f", text, users, &e);
        while (map_next(&it)) {
                const struct api_user *u = it.value;

                if (!user_is_in(u, "system:authenticated") && !user_is_in(u, "system:unauthenticated") &&
                    !str_eqc(u->name, "system:anonymous"))
                        abort();
        }
        map_free(users);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_buf_ struct buf entries = BUF_INIT;
        struct str text = str_n((const char *) data, size);

        if (!server)
                start();
        if (size == 0)
                return 0;
        text = str_sub(text, 1, text.n);
        switch (data[0] == 0xff ? 5 : data[0] % 5) {
        case 5:
                policies(a, text);
                break;
        case 3:
                tokens(a, text);
                break;
        case 4:
                if (kms_field(text, 3).n > text.n)
                        abort();
                kms_copy_entries(&entries, text, 3, 4);
                break;
        default:
                configurations(data[0] % 5, text);
        }
        return 0;
}
