/* Is an LMDB file sound? LMDB trusts its pages: a wrong offset in one would have it read or write anywhere, and a page
 * beyond the end of the file is a SIGBUS. So each page that can be reached is looked at before LMDB opens the file.
 *
 *   page 0, 1: meta (the newer counts) ──▶ free-list tree: transaction ─▶ pages it freed
 *                                      └─▶ main tree:      segment number ─▶ bytes, in the leaf or on own pages
 *
 * Checked: each page says its own number and its kind; nodes lie inside their page; keys rise; leaves lie at one
 * depth; no page is used twice, nor used and free. What a segment says is under its records' checksums. The format is
 * that of LMDB 0.9 (data version 1), as its mdb.c describes it. */
#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "store/lmdb_check.h"

enum { PAGE_BRANCH = 0x01, PAGE_LEAF = 0x02, PAGE_OVERFLOW = 0x04, PAGE_META = 0x08 };
enum { NODE_BIG = 0x01 }; /* the data is on overflow pages */
enum { TREE_INTEGER_KEY = 0x08 };
#define NO_PAGE SIZE_MAX

struct page {
        size_t number;
        uint16_t pad, flags;
        union {
                struct {
                        uint16_t lower, upper; /* of the free space between offsets and nodes */
                };
                uint32_t pages; /* of an overflow run */
        };
};

struct node_head { /* followed by the key, then the data */
        uint16_t lo, hi, flags, key_n;
};

struct tree {
        uint32_t pad;
        uint16_t flags, depth;
        size_t branch_pages, leaf_pages, overflow_pages, entries, root;
};

struct meta {
        uint32_t magic, version;
        void *address;
        size_t map_bytes;
        struct tree free, main;
        size_t last_page, txn;
};

#define META_MAGIC 0xBEEFC0DEU
#define META_VERSION 1U

struct check {
        const char *file;
        size_t bytes, page_bytes, last_page;
        uint8_t *used; /* a bit for each page */
        const struct tree *tree;
        bool free_list;      /* the tree is that one */
        const char *problem; /* the first found */
        size_t entries;
        char last_key[8];
        bool any_key;
};

static bool problem(struct check *c, const char *what) {
        if (!c->problem)
                c->problem = what;
        return false;
}

static bool claim(struct check *c, size_t first, size_t n) {
        if (first < 2 || n == 0 || first > c->last_page || n > c->last_page - first + 1)
                return problem(c, "a page number is out of bounds");
        if (first + n > c->bytes / c->page_bytes)
                return problem(c, "the file is cut short");
        for (size_t i = first; i < first + n; i++) {
                if (c->used[i / 8] & 1 << i % 8)
                        return problem(c, "a page is used twice");
                c->used[i / 8] |= (uint8_t) (1 << i % 8);
        }
        return true;
}

static const char *page_at(const struct check *c, size_t number) {
        return c->file + number * c->page_bytes;
}

static bool check_overflow(struct check *c, size_t number, size_t n, const char **ret_data) {
        size_t pages = (sizeof(struct page) - 1 + n) / c->page_bytes + 1;
        struct page p;

        if (!claim(c, number, pages))
                return false;
        memcpy(&p, page_at(c, number), sizeof(p));
        if (p.number != number || p.flags != PAGE_OVERFLOW || p.pages != pages)
                return problem(c, "a run of pages has a wrong head");
        *ret_data = page_at(c, number) + sizeof(p);
        return true;
}

/* A list of free pages: their count, then their numbers, falling. None may be in use; claim sees to both. */
static bool check_free_pages(struct check *c, const char *data, size_t n) {
        size_t count, number, above = SIZE_MAX;

        if (n < sizeof(count))
                return problem(c, "a list of free pages is cut short");
        memcpy(&count, data, sizeof(count));
        if (count > n / sizeof(count) - 1)
                return problem(c, "a list of free pages is cut short");
        for (size_t i = 1; i <= count; i++, above = number) {
                memcpy(&number, data + i * sizeof(number), sizeof(number));
                if (number >= above || number < 2 || number > c->last_page)
                        return problem(c, "a list of free pages is out of order");
                if (c->used[number / 8] & 1 << number % 8)
                        return problem(c, "a page is used and free");
                c->used[number / 8] |= (uint8_t) (1 << number % 8);
        }
        return true;
}

/* Keys are 8 bytes in both trees: the machine's order in the free list, big endian in the main tree. */
static bool check_key(struct check *c, const char *key, size_t n) {
        size_t a, b;

        if (n != (c->free_list ? sizeof(size_t) : 8))
                return problem(c, "a key has a wrong length");
        memcpy(&a, c->last_key, sizeof(a));
        memcpy(&b, key, sizeof(b));
        bool rises = c->free_list ? a < b : memcmp(c->last_key, key, 8) < 0;
        if (c->any_key && !rises)
                return problem(c, "keys are out of order");
        memcpy(c->last_key, key, n);
        c->any_key = true;
        return true;
}

static bool check_leaf_node(struct check *c, const char *at, size_t room, bool lists) {
        struct node_head h;
        size_t data_n, here, number;

        memcpy(&h, at, sizeof(h));
        data_n = h.lo | (size_t) h.hi << 16;
        here = h.flags & NODE_BIG ? sizeof(number) : data_n;
        if ((h.flags & ~NODE_BIG) || h.key_n > room - sizeof(h) || here > room - sizeof(h) - h.key_n)
                return problem(c, "an entry does not fit its page");
        const char *data = at + sizeof(h) + h.key_n;
        if (lists) {
                if (h.flags & NODE_BIG) { /* its pages were checked before */
                        memcpy(&number, data, sizeof(number));
                        data = page_at(c, number) + sizeof(struct page);
                }
                return check_free_pages(c, data, data_n);
        }
        c->entries++;
        if (!check_key(c, at + sizeof(h), h.key_n))
                return false;
        if (!(h.flags & NODE_BIG))
                return true;
        memcpy(&number, data, sizeof(number));
        return check_overflow(c, number, data_n, &data);
}

/* lists: the second walk over the free-list tree, which reads the lists when the pages of both trees are known. */
static bool check_page(struct check *c, size_t number, unsigned depth, bool lists) {
        bool leaf = depth == c->tree->depth;
        struct page p;

        if (!lists && !claim(c, number, 1))
                return false;
        const char *at = page_at(c, number);
        memcpy(&p, at, sizeof(p));
        if (p.number != number || p.flags != (leaf ? PAGE_LEAF : PAGE_BRANCH))
                return problem(c, "a page has a wrong head");
        if (p.lower < sizeof(p) || p.lower % 2 || p.lower > p.upper || p.upper > c->page_bytes)
                return problem(c, "a page has wrong bounds");
        size_t n = (p.lower - sizeof(p)) / 2;
        if (n < (leaf || c->free_list ? 1 : 2))
                return problem(c, "a page is empty");
        for (size_t i = 0; i < n; i++) {
                struct node_head h;
                uint16_t offset;

                memcpy(&offset, at + sizeof(p) + 2 * i, sizeof(offset));
                if (offset < p.upper || offset % 2 || offset + sizeof(h) > c->page_bytes)
                        return problem(c, "an entry lies outside its page");
                memcpy(&h, at + offset, sizeof(h));
                if (leaf) {
                        if (!check_leaf_node(c, at + offset, c->page_bytes - offset, lists))
                                return false;
                        continue;
                }
                if (h.key_n > c->page_bytes - offset - sizeof(h) || (i > 0 && h.key_n != 8))
                        return problem(c, "an entry does not fit its page");
                if (!check_page(c, h.lo | (size_t) h.hi << 16 | (sizeof(size_t) > 4 ? (size_t) h.flags << 16 << 16 : 0),
                                depth + 1, lists))
                        return false;
        }
        return true;
}

static bool check_tree(struct check *c, const struct tree *t, bool free_list, bool lists) {
        c->tree = t;
        c->free_list = free_list;
        c->any_key = false;
        c->entries = 0;
        if (t->flags != (free_list ? TREE_INTEGER_KEY : 0) || t->depth > 32)
                return problem(c, "a tree is of a wrong kind");
        if (t->root == NO_PAGE || t->depth == 0)
                return (t->root == NO_PAGE && t->depth == 0 && t->entries == 0) || problem(c, "a tree has no root");
        if (!check_page(c, t->root, 1, lists))
                return false;
        return lists || c->entries == t->entries || problem(c, "a tree has lost entries");
}

/* The newer of both metas, which is the one that LMDB takes. */
static bool read_meta(struct check *c, struct meta *ret) {
        struct meta m[2];

        for (size_t i = 0; i < 2; i++) {
                size_t at = i * c->page_bytes;
                struct page p;

                if (c->bytes < at + sizeof(p) + sizeof(m[i]))
                        return problem(c, "the file is cut short");
                memcpy(&p, c->file + at, sizeof(p));
                memcpy(&m[i], c->file + at + sizeof(p), sizeof(m[i]));
                if (p.flags != PAGE_META || p.number != i || m[i].magic != META_MAGIC || m[i].version != META_VERSION)
                        return problem(c, "it does not begin as one");
                if (i == 0)
                        c->page_bytes = m[0].free.pad;
                if (m[i].free.pad != c->page_bytes || c->page_bytes < 512 || c->page_bytes > 65536 ||
                    (c->page_bytes & (c->page_bytes - 1)))
                        return problem(c, "it has a wrong page size");
        }
        *ret = m[m[0].txn < m[1].txn];
        c->last_page = ret->last_page;
        if (ret->last_page < 1 || ret->map_bytes > SIZE_MAX / 65536 || ret->last_page >= ret->map_bytes / c->page_bytes)
                return problem(c, "its size is wrong");
        return true;
}

const char *lmdb_check(const char *file, size_t bytes) {
        struct check c = { .file = file, .bytes = bytes };
        struct meta m;

        if (!read_meta(&c, &m))
                return c.problem;
        /* Pages at the end that were freed before they were written may be missing in the file; not many. */
        if (m.last_page / 2 > bytes / c.page_bytes + 65536)
                return "the file is cut short";
        _cleanup_free_ uint8_t *used = xcalloc(1, m.last_page / 8 + 1);
        c.used = used;
        if (check_tree(&c, &m.free, true, false) && check_tree(&c, &m.main, false, false))
                check_tree(&c, &m.free, true, true);
        return c.problem;
}

/* Is it no more than the two meta pages, or what a power loss in their first moment left of them? It holds nothing
 * then. */
static bool never_used(const char *file, size_t bytes) {
        static const char zeros[4096];
        struct page p;
        struct meta m;

        if (bytes > 2 * sizeof(zeros))
                return false;
        for (; bytes > 0; file += MIN(bytes, sizeof(zeros)), bytes -= MIN(bytes, sizeof(zeros))) {
                if (memcmp(file, zeros, MIN(bytes, sizeof(zeros))) == 0)
                        continue;
                if (bytes < sizeof(p) + sizeof(m))
                        return false;
                memcpy(&p, file, sizeof(p));
                memcpy(&m, file + sizeof(p), sizeof(m));
                if (p.flags != PAGE_META || m.magic != META_MAGIC || m.txn != 0)
                        return false;
        }
        return true;
}

int lmdb_check_file(int fd, const char **ret_problem) {
        struct stat st;

        *ret_problem = NULL;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (st.st_size == 0) /* created, and nothing more */
                return 0;
        if ((uintmax_t) st.st_size > SIZE_MAX)
                return -EFBIG;
        char *map = mmap(NULL, (size_t) st.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (map == MAP_FAILED)
                return -errno;
        *ret_problem = lmdb_check(map, (size_t) st.st_size);
        bool fresh = *ret_problem && never_used(map, (size_t) st.st_size);
        munmap(map, (size_t) st.st_size);
        if (fresh) {
                *ret_problem = NULL;
                return ftruncate(fd, 0) < 0 ? -errno : 0;
        }
        return *ret_problem ? -EUCLEAN : 0;
}
