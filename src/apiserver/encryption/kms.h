/* A KMS plugin (KEP-3299, v2): a gRPC service on a Unix socket that encrypts one seed, from which every write's own key
 * is derived here. The plugin is asked at the start, when an unknown seed is met on disk, and every 20 s how it is and
 * whether its key has changed. https://kubernetes.io/docs/tasks/administer-cluster/kms-provider/ */
#pragma once

#include "json/json.h"

struct kms;

/* config: name, endpoint "unix:///…", timeout: checked. Asks the plugin once and waits for that; it may be away, and is
 * asked again until it answers: nothing is sealed or opened before. ready is called, on a thread of its own, whenever
 * there is a new seed: what could not be opened may be tried again. */
int kms_new(const struct json *config, void (*ready)(void *arg), void *arg, struct kms **ret, struct error *err);
void kms_free(struct kms *k);
bool kms_healthy(struct kms *k, struct buf *why); /* when it was last asked; if not, why is added to */
int kms_check(struct kms *k, struct error *err);  /* whether it could seal now; -ENOKEY: the plugin is or was away */
uint64_t kms_key(struct kms *k);                  /* a hash of the ID of the key that seals now */
/* Append to dst. -ENOKEY: not now; -EBADMSG: not sealed by this plugin, or changed. Any thread; open may ask the plugin
 * and wait; it tells the key, as kms_key does. */
int kms_seal(struct kms *k, struct str aad, struct str text, struct buf *dst, struct error *err);
int kms_open(struct kms *k, struct str aad, struct str sealed, struct buf *dst, uint64_t *ret_key, struct error *err);

/* The last field of this number in a protobuf message, of bytes; empty: there is none. And all entries of a map, with
 * the number that they have in another message. */
struct str kms_field(struct str message, unsigned number);
void kms_copy_entries(struct buf *dst, struct str message, unsigned from, unsigned to);

/* AES-GCM as Kubernetes lays it out: 12 bytes of nonce, the ciphertext, 16 bytes of tag. */
int gcm_seal(const uint8_t *key, size_t key_n, struct str aad, struct str text, struct buf *dst);
int gcm_open(const uint8_t *key, size_t key_n, struct str aad, struct str sealed, struct buf *dst);
