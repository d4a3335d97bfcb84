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

/* Reads the file; asks KMS plugins for their keys. */
int encryption_new(const char *path, struct encryption **ret, struct error *err);
/* Reads it again; on an error what was before stays. Waits for KMS plugins. Any thread. */
int encryption_reload(struct encryption *e, struct error *err);
/* How many KMS plugins there are, and whether one of them answered well lately: if not, why is added to. e may be NULL.
 */
size_t encryption_n_kms(struct encryption *e);
bool encryption_kms_healthy(struct encryption *e, size_t i, struct buf *why);
void encryption_free(struct encryption *e); /* after the store is closed */
DEFINE_CLEANUP(struct encryption *, encryption_free)
const struct store_cipher *encryption_cipher(const struct encryption *e); /* for store_options */
