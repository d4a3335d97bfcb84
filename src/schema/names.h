/* The rules for names, label keys and label values, with upstream's words for what is wrong:
 * k8s.io/apimachinery/pkg/util/validation. */
#pragma once

#include "base/buf.h"

/* Each appends what is wrong to why (may be NULL), faults separated by "; ", and returns true when nothing is. */
bool name_is_qualified(struct str s, struct buf *why); /* "example.com/MyName": label keys, finalizers, resources */
bool name_is_label_value(struct str s, struct buf *why);
bool name_is_dns1123_label(struct str s, struct buf *why);     /* "my-name", up to 63 */
bool name_is_dns1123_subdomain(struct str s, struct buf *why); /* "my.name", up to 253 */
bool name_is_dns1035_label(struct str s, struct buf *why);     /* "my-svc", must not start with a digit */
