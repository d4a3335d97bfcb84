/* A KMS plugin (KEP-3299, v2): a gRPC service on a Unix socket that encrypts one seed, from which every write's own key
 * is derived here. The plugin is asked at the start, when an unknown seed is met on disk, and every 20 s how it is and
 * whether its key has changed. https://kubernetes.io/docs/tasks/administer-cluster/kms-provider/ */
#pragma once

#include "json/json.h"

struct kms;

/* config: name, endpoint "unix:///…", timeout: checked. Fails unless the plugin answers and is healthy. */
int kms_new(const struct json *config, struct kms **ret, struct error *err);
void kms_free(struct kms *k);
bool kms_healthy(struct kms *k, struct buf *why); /* when it was last asked; if not, why is added to */
/* Append to dst. -EBADMSG: not sealed by this plugin, or changed. Any thread; open may ask the plugin and wait. */
int kms_seal(struct kms *k, struct str aad, struct str text, struct buf *dst);
int kms_open(struct kms *k, struct str aad, struct str sealed, struct buf *dst);

/* The last field of this number in a protobuf message, of bytes; empty: there is none. And all entries of a map, with
 * the number that they have in another message. */
struct str kms_field(struct str message, unsigned number);
void kms_copy_entries(struct buf *dst, struct str message, unsigned from, unsigned to);

/* AES-GCM as Kubernetes lays it out: 12 bytes of nonce, the ciphertext, 16 bytes of tag. */
int gcm_seal(const uint8_t *key, size_t key_n, struct str aad, struct str text, struct buf *dst);
int gcm_open(const uint8_t *key, size_t key_n, struct str aad, struct str sealed, struct buf *dst);
