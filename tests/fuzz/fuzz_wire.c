/* What a server sends, right or wrong: answers, Status objects, lines of a watch. */
#include <stdlib.h>

#include "client/wire.h"
#include "schema/types.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Linked in place of the apiserver's. */
void __attribute__((weak)) api_list_free(struct api_list *l) {
        for (size_t i = 0; i < l->n; i++)
                object_unref(l->items[i]);
        free(l->items);
        free((char *) l->continue_token.p);
        free(l);
}

static void answer(struct str text, enum api_verb verb, int status) {
        struct api_call c = { .verb = verb, .resource = &res_configmaps, .arena = arena_new(0) };

        wire_answer(&c, status, text);
        if (c.error.err == 0 && !c.object && !c.tree && !c.list)
                abort();
        object_unref(c.object);
        if (c.list)
                api_list_free(c.list);
        error_clear(&c.error);
        arena_free(c.arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct str text = str_n((const char *) data, size);
        struct error err = ERROR_INIT;
        enum api_event_type type;
        struct object *o = NULL;
        uint64_t revision = 0;

        if (wire_event(text, &type, &o, &revision, &err) == 0)
                object_unref(o);
        error_clear(&err);
        answer(text, API_GET, 200);
        answer(text, API_LIST, 200);
        answer(text, API_CREATE, 422);
        return 0;
}
