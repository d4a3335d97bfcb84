/* Memory that goes back to the machine. */
#include "../test.h"

#include <malloc.h>

#include "base/memory.h"

#define PIECES 65536
#define PIECE 1000

static void holes_go_back(void **state) {
        static char *pieces[PIECES];
        uint64_t settled = 0, full;

        memory_settle(&settled);
        for (size_t i = 0; i < PIECES; i++) {
                pieces[i] = malloc(PIECE);
                memset(pieces[i], 1, PIECE);
        }
        memory_settle(&settled);
        if (mallinfo2().uordblks < PIECES * PIECE)
                skip(); /* the allocator is a sanitizer's */
        full = memory_taken().resident;
        assert_true(full > PIECES * PIECE && full < memory_taken().virtual);
        for (size_t i = 0; i < PIECES; i++)
                if (i % 64 != 63)
                        free(pieces[i]);
        memory_settle(&settled);
        assert_true(memory_taken().resident < full - PIECES * PIECE / 2);
        for (size_t i = 63; i < PIECES; i += 64)
                free(pieces[i]);
}

int main(void) {
        const struct CMUnitTest tests[] = { cmocka_unit_test(holes_go_back) };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
