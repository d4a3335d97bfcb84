/* A copy-on-write B+tree.
 *
 *   before put(k)        root A                 root A   root A'
 *                       ╱  │   ╲        ──▶      ╱ │ ╲  ╱ │  ╲       A' shares all but one path with A:
 *                      b   c    d               b  c  d ──┘    b'    a reader of A never notices, and pays nothing
 *                                               └──────────▶ (copy with k)
 *
 * Nodes and entries count their references. A node that is reached over nodes of one reference each is the writer's
 * alone (only owners hand out references), so it is changed in place: a batch of writes copies each node at most once,
 * and the tree of a closed snapshot costs nothing.
 *
 *   node   │ refs │ n │ common │ count │ head[32] │ entry[32] │ child[32] (branches) │
 *                                           │          └─▶ entry: key and object
 *                                           └─▶ the 8 bytes of each key that follow the prefix common to the node
 *
 * Keys of a node share long prefixes ("core/pods/default/web-…"). The prefix is compared once, then a binary search
 * runs over the heads, integers that lie side by side; a key's own bytes (a cache miss) are read only where heads tie.
 *
 * In a branch, entry[i] is a separator (no object): the smallest key that may be below child[i]. entry[0] is not looked
 * at: the first child takes all that is smaller. Nodes are at most 32 wide. Removal merges a node that is less than a
 * quarter full into a neighbour where both fit into one; an empty node always goes. */
#include "store/btree.h"

#include <endian.h>

#define FANOUT 32
#define SPARSE (FANOUT / 4)

struct node {
        atomic_uint refs;
        uint16_t n;
        uint16_t common;
        bool leaf;
        size_t count; /* entries in leaves below */
        uint64_t head[FANOUT];
        struct entry *entry[FANOUT];
        struct node *child[];
};

/* ---- entries ---- */

struct entry *entry_new(struct str key, struct object *o) {
        struct entry *e = xmalloc(sizeof(*e) + key.n);

        atomic_init(&e->refs, 1);
        e->key_n = (uint32_t) key.n;
        e->object = o ? object_ref(o) : NULL;
        if (key.n > 0)
                memcpy(e->key, key.p, key.n);
        return e;
}

void entry_unref(struct entry *e) {
        if (!e || atomic_fetch_sub_explicit(&e->refs, 1, memory_order_acq_rel) != 1)
                return;
        object_unref(e->object);
        free(e);
}

/* ---- nodes ---- */

static size_t node_bytes(bool leaf) {
        return sizeof(struct node) + (leaf ? 0 : FANOUT * sizeof(struct node *));
}

static struct node *node_new(bool leaf) {
        struct node *n = xmalloc(node_bytes(leaf));

        atomic_init(&n->refs, 1);
        n->n = 0;
        n->common = 0;
        n->leaf = leaf;
        n->count = 0;
        return n;
}

struct node *btree_ref(struct node *n) {
        if (n)
                atomic_fetch_add_explicit(&n->refs, 1, memory_order_relaxed);
        return n;
}

void btree_unref(struct node *n) {
        if (!n || atomic_fetch_sub_explicit(&n->refs, 1, memory_order_acq_rel) != 1)
                return;
        for (unsigned i = 0; i < n->n; i++) {
                entry_unref(n->entry[i]);
                if (!n->leaf)
                        btree_unref(n->child[i]);
        }
        free(n);
}

/* Makes *slot the caller's alone. The slot itself must be. */
static struct node *own(struct node **slot) {
        struct node *n = *slot, *copy;

        if (atomic_load_explicit(&n->refs, memory_order_acquire) == 1)
                return n;
        copy = node_new(n->leaf);
        copy->n = n->n;
        copy->common = n->common;
        copy->count = n->count;
        memcpy(copy->head, n->head, n->n * sizeof(n->head[0]));
        for (unsigned i = 0; i < n->n; i++) {
                copy->entry[i] = n->entry[i] ? entry_ref(n->entry[i]) : NULL;
                if (!n->leaf)
                        copy->child[i] = btree_ref(n->child[i]);
        }
        btree_unref(n);
        *slot = copy;
        return copy;
}

/* ---- heads and search ---- */

/* Entries below this index carry no key worth comparing. */
static unsigned first_key(const struct node *n) {
        return n->leaf ? 0 : 1;
}

static uint64_t head_of(struct str key, size_t skip) {
        uint64_t h = 0;

        if (key.n > skip)
                memcpy(&h, key.p + skip, MIN(key.n - skip, sizeof(h)));
        return be64toh(h);
}

static size_t shared_prefix(struct str a, struct str b) {
        size_t i = 0, n = MIN(a.n, b.n);

        while (i < n && a.p[i] == b.p[i])
                i++;
        return i;
}

/* Sorted keys share what the first and the last do. */
static uint16_t common_of(const struct node *n) {
        unsigned first = first_key(n);

        if (n->n <= first)
                return 0;
        return (uint16_t) MIN(shared_prefix(entry_key(n->entry[first]), entry_key(n->entry[n->n - 1])), UINT16_MAX);
}

static void rebuild_heads(struct node *n) {
        n->common = common_of(n);
        for (unsigned i = 0; i < n->n; i++)
                n->head[i] = n->entry[i] ? head_of(entry_key(n->entry[i]), n->common) : 0;
}

/* The first index whose key is >= key. */
static unsigned lower_bound(const struct node *n, struct str key, bool *ret_exact) {
        unsigned lo = first_key(n), hi = n->n;
        int c = 0;

        *ret_exact = false;
        if (lo >= hi || key.n == 0) /* no key is empty */
                return lo;
        if (n->common > 0) {
                c = memcmp(key.p, n->entry[lo]->key, MIN(key.n, n->common));
                if (c < 0 || (c == 0 && key.n < n->common))
                        return lo;
                if (c > 0)
                        return hi;
        }
        uint64_t h = head_of(key, n->common);
        while (lo < hi) {
                unsigned mid = (lo + hi) / 2;

                if (n->head[mid] != h)
                        c = n->head[mid] < h ? -1 : 1;
                else
                        c = str_cmp(entry_key(n->entry[mid]), key);
                if (c == 0) {
                        *ret_exact = true;
                        return mid;
                }
                if (c < 0)
                        lo = mid + 1;
                else
                        hi = mid;
        }
        return lo;
}

/* The child of a branch that key belongs to. */
static unsigned child_of(const struct node *n, struct str key) {
        bool exact;
        unsigned i = lower_bound(n, key, &exact);

        return exact ? i : i - 1;
}

size_t btree_size(const struct node *root) {
        return root ? root->count : 0;
}

struct entry *btree_find(const struct node *n, struct str key) {
        bool exact;

        if (!n)
                return NULL;
        while (!n->leaf)
                n = n->child[child_of(n, key)];
        unsigned i = lower_bound(n, key, &exact);
        return exact ? n->entry[i] : NULL;
}

size_t btree_rank(const struct node *n, struct str key) {
        size_t rank = 0;
        bool exact;

        if (!n)
                return 0;
        while (!n->leaf) {
                unsigned at = child_of(n, key);

                for (unsigned i = 0; i < at; i++)
                        rank += n->child[i]->count;
                n = n->child[at];
        }
        return rank + lower_bound(n, key, &exact);
}

/* ---- insertion ---- */

/* Puts e (and child) at index at of a node with room. */
static void insert_at(struct node *n, unsigned at, struct entry *e, struct node *child) {
        unsigned tail = n->n - at;

        memmove(&n->entry[at + 1], &n->entry[at], tail * sizeof(n->entry[0]));
        memmove(&n->head[at + 1], &n->head[at], tail * sizeof(n->head[0]));
        n->entry[at] = e;
        if (!n->leaf) {
                memmove(&n->child[at + 1], &n->child[at], tail * sizeof(n->child[0]));
                n->child[at] = child;
        }
        n->n++;
        if ((at == first_key(n) || at == n->n - 1U) && common_of(n) != n->common)
                rebuild_heads(n);
        else
                n->head[at] = head_of(entry_key(e), n->common);
}

/* Inserts at index at of a node of the caller's. Full, it is split first, and the right half returned. Appending at the
 * end of the tree leaves full nodes behind: that is how a sorted load goes. The counts of branches include the new
 * child already. */
static struct node *insert(struct node *n, unsigned at, struct entry *e, struct node *child, bool append) {
        unsigned cut = append ? FANOUT : FANOUT / 2;

        n->count += n->leaf;
        if (n->n < FANOUT) {
                insert_at(n, at, e, child);
                return NULL;
        }
        struct node *right = node_new(n->leaf);
        right->n = (uint16_t) (n->n - cut);
        memcpy(right->entry, &n->entry[cut], right->n * sizeof(n->entry[0]));
        if (!n->leaf)
                memcpy(right->child, &n->child[cut], right->n * sizeof(n->child[0]));
        n->n = (uint16_t) cut;
        rebuild_heads(n);
        rebuild_heads(right);
        if (at > cut || append)
                insert_at(right, at - cut, e, child);
        else
                insert_at(n, at, e, child);
        for (unsigned i = 0; i < right->n; i++)
                right->count += n->leaf ? 1 : right->child[i]->count;
        n->count -= right->count;
        return right;
}

/* The shortest key that tells right (split off left) from left. */
static struct entry *separator(const struct node *left, const struct node *right) {
        if (!right->leaf)
                return entry_ref(right->entry[0]);
        struct str key = entry_key(right->entry[0]);
        key.n = shared_prefix(entry_key(left->entry[left->n - 1]), key) + 1;
        return entry_new(key, NULL);
}

/* Returns the right half of *slot when it had to be split. last: *slot is the last node of its level. */
static struct node *put(struct node **slot, struct entry *e, bool last, bool *ret_added) {
        struct node *n = own(slot), *right;
        unsigned at;

        if (n->leaf) {
                bool exact;

                at = lower_bound(n, entry_key(e), &exact);
                *ret_added = !exact;
                if (!exact)
                        return insert(n, at, e, NULL, last && at == FANOUT);
                entry_unref(n->entry[at]);
                n->entry[at] = e;
                return NULL;
        }
        at = child_of(n, entry_key(e));
        last = last && at == n->n - 1U;
        right = put(&n->child[at], e, last, ret_added);
        n->count += *ret_added;
        if (!right)
                return NULL;
        return insert(n, at + 1, separator(n->child[at], right), right, last && at + 1 == FANOUT);
}

void btree_put(struct node **root, struct entry *e) {
        bool added;

        if (!*root)
                *root = node_new(true);
        struct node *right = put(root, e, true, &added);
        if (!right)
                return;
        struct node *top = node_new(false);
        top->count = (*root)->count + right->count;
        top->n = 2;
        top->child[0] = *root;
        top->child[1] = right;
        top->entry[0] = NULL;
        top->entry[1] = separator(*root, right);
        rebuild_heads(top);
        *root = top;
}

/* ---- removal ---- */

/* Closes the gap that entry (and child) at leave. What was there is no longer the node's. */
static void remove_at(struct node *n, unsigned at) {
        unsigned tail = --n->n - at;

        memmove(&n->entry[at], &n->entry[at + 1], tail * sizeof(n->entry[0]));
        memmove(&n->head[at], &n->head[at + 1], tail * sizeof(n->head[0]));
        if (!n->leaf)
                memmove(&n->child[at], &n->child[at + 1], tail * sizeof(n->child[0]));
}

/* Moves what child i + 1 has to the end of child i. */
static void merge(struct node *n, unsigned i) {
        struct node *left = own(&n->child[i]), *right = own(&n->child[i + 1]);

        memcpy(&left->entry[left->n], right->entry, right->n * sizeof(left->entry[0]));
        if (!left->leaf) {
                /* Its first child may hold smaller keys than its own first separator says: the parent's is true. */
                entry_unref(left->entry[left->n]);
                left->entry[left->n] = entry_ref(n->entry[i + 1]);
                memcpy(&left->child[left->n], right->child, right->n * sizeof(left->child[0]));
        }
        left->n += right->n;
        left->count += right->count;
        rebuild_heads(left);
        free(right);
        entry_unref(n->entry[i + 1]);
        remove_at(n, i + 1);
}

/* Child at has become sparse. */
static void tidy(struct node *n, unsigned at) {
        struct node *c = n->child[at];

        if (c->n == 0) {
                btree_unref(c);
                entry_unref(n->entry[at]);
                remove_at(n, at);
        } else if (at > 0 && n->child[at - 1]->n + c->n <= FANOUT)
                merge(n, at - 1);
        else if (at + 1U < n->n && n->child[at + 1]->n + c->n <= FANOUT)
                merge(n, at);
}

/* key is there. */
static void drop(struct node **slot, struct str key) {
        struct node *n = own(slot);
        unsigned at;

        n->count--;
        if (n->leaf) {
                bool exact;

                at = lower_bound(n, key, &exact);
                entry_unref(n->entry[at]);
                return remove_at(n, at);
        }
        at = child_of(n, key);
        drop(&n->child[at], key);
        if (n->child[at]->n < SPARSE)
                tidy(n, at);
}

bool btree_remove(struct node **root, struct str key) {
        if (!btree_find(*root, key))
                return false;
        drop(root, key);
        while (*root && (*root)->n <= first_key(*root)) { /* empty, or a branch with one child */
                struct node *top = *root;

                *root = top->n > 0 ? btree_ref(top->child[0]) : NULL;
                btree_unref(top);
        }
        return true;
}

/* ---- walking ---- */

static void push(struct btree_cursor *c, const struct node *n, unsigned at) {
        if (c->depth == BTREE_DEPTH_MAX)
                abort(); /* 16^10 entries */
        c->node[c->depth] = n;
        c->at[c->depth++] = (uint16_t) at;
}

void btree_seek(struct btree_cursor *c, const struct node *n, struct str key) {
        bool exact;

        c->depth = 0;
        if (!n)
                return;
        for (; !n->leaf; n = n->child[c->at[c->depth - 1]])
                push(c, n, child_of(n, key));
        push(c, n, lower_bound(n, key, &exact));
}

struct entry *btree_next(struct btree_cursor *c) {
        while (c->depth > 0) {
                const struct node *n = c->node[c->depth - 1];
                uint16_t *at = &c->at[c->depth - 1];

                if (n->leaf && *at < n->n)
                        return n->entry[(*at)++];
                if (n->leaf || *at + 1 >= n->n) {
                        c->depth--;
                        continue;
                }
                for (n = n->child[++*at]; !n->leaf; n = n->child[0])
                        push(c, n, 0);
                push(c, n, 0);
        }
        return NULL;
}

/* ---- checking ---- */

/* lower <= keys < upper, where those are not NULL. */
static bool check(const struct node *n, unsigned depth, unsigned leaf_depth, const struct entry *lower,
                  const struct entry *upper) {
        size_t count = 0;

        if (n->leaf != (depth == leaf_depth) || n->n == 0 || n->n > FANOUT)
                return false;
        for (unsigned i = 0; i < n->n; i++) {
                const struct entry *e = n->entry[i];

                if (i >= first_key(n)) {
                        const struct entry *before = i > first_key(n) ? n->entry[i - 1] : NULL;

                        if (before && str_cmp(entry_key(before), entry_key(e)) >= 0)
                                return false;
                        if ((lower && str_cmp(entry_key(lower), entry_key(e)) > 0) ||
                            (upper && str_cmp(entry_key(e), entry_key(upper)) >= 0))
                                return false;
                        if (shared_prefix(entry_key(e), entry_key(n->entry[first_key(n)])) < n->common ||
                            n->head[i] != head_of(entry_key(e), n->common))
                                return false;
                }
                if (n->leaf) {
                        count++;
                        continue;
                }
                count += n->child[i]->count;
                if (!check(n->child[i], depth + 1, leaf_depth, i > 0 ? e : lower,
                           i + 1U < n->n ? n->entry[i + 1] : upper))
                        return false;
        }
        return count == n->count;
}

bool btree_check(const struct node *root) {
        unsigned leaf_depth = 0;

        for (const struct node *n = root; n && !n->leaf; n = n->child[0])
                leaf_depth++;
        return !root || check(root, 0, leaf_depth, NULL, NULL);
}
