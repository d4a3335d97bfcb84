/* Encryption at rest: which resources lie encrypted in the store, by which keys. An EncryptionConfiguration
 * (apiserver.config.k8s.io/v1) with identity, aescbc, aesgcm, secretbox and kms (v2):
 * https://kubernetes.io/docs/tasks/administer-cluster/encrypt-data/
 *
 *   object ─▶ store ─▶ backend ─ seal ─▶ k8s:enc:aescbc:v1:key1:… ─▶ disk       the first provider of the resource
 *                         ▲───── open ◀──────────────────────────────┘          whichever wrote it
 *
 * Memory has all objects in the clear; what is rewritten is encrypted anew, by the first provider of that day. */
#pragma once

#include "store/store.h"

struct encryption;

/* Reads the file; asks KMS plugins for their keys, which may be away. */
int encryption_new(const char *path, struct encryption **ret, struct error *err);
/* The store that has this cipher, from when it is open until it is closed (NULL): what it could not read is opened when
 * a key comes. e may be NULL. */
void encryption_serve(struct encryption *e, struct store *s);
/* Reads it again; on an error what was before stays. Waits for KMS plugins. Any thread. */
int encryption_reload(struct encryption *e, struct error *err);
/* Whether what is under this key could be sealed now; -ENOKEY: its KMS plugin is away. e may be NULL. */
int encryption_check(struct encryption *e, struct str key, struct error *err);
/* Adds why what is under this key is sealed. */
void encryption_why(struct encryption *e, struct str key, struct buf *why);
/* How many KMS plugins there are, and whether one of them answered well lately: if not, why is added to. e may be NULL.
 */
size_t encryption_n_kms(struct encryption *e);
bool encryption_kms_healthy(struct encryption *e, size_t i, struct buf *why);
void encryption_free(struct encryption *e); /* after the store is closed */
DEFINE_CLEANUP(struct encryption *, encryption_free)
const struct store_cipher *encryption_cipher(const struct encryption *e); /* for store_options */
