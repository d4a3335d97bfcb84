#include <malloc.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"

#define HOLES (16U << 20)

struct memory memory_taken(void) {
        _cleanup_buf_ struct buf text = BUF_INIT;
        struct str rest, field;
        uint64_t pages[2] = { 0 }, page = (uint64_t) sysconf(_SC_PAGESIZE);

        if (file_read("/proc/self/statm", 256, &text, NULL) < 0)
                return (struct memory) { 0 };
        rest = buf_str(&text);
        for (size_t i = 0; i < 2 && str_split(&rest, ' ', &field); i++) /* size, resident, … */
                str_to_u64(field, &pages[i]);
        return (struct memory) { .virtual = pages[0] * page, .resident = pages[1] * page };
}

/* Bytes that are resident and not in use: code, and holes. */
static uint64_t beside_use(void) {
        struct mallinfo2 m = mallinfo2();
        uint64_t resident = memory_taken().resident, used = m.uordblks + m.hblkhd;

        return resident > used ? resident - used : 0;
}

void memory_settle(uint64_t *settled) {
        uint64_t now = beside_use();

        if (now > *settled + HOLES) {
                malloc_trim(0);
                now = beside_use();
        }
        *settled = now;
}
