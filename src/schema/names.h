/* The rules for names, label keys and label values, with upstream's words for what is wrong:
 * k8s.io/apimachinery/pkg/util/validation. */
#pragma once

#include "base/buf.h"

#define MAX_MESSAGES 5

/* Each says what is wrong with a text, and how many things that are. */
typedef size_t name_checker(struct str s, const char *ret[MAX_MESSAGES]);
typedef name_checker *name_check;
name_checker check_dns_label;      /* "my-name", up to 63 */
name_checker check_dns_subdomain;  /* "my.name", up to 253 */
name_checker check_dns1035_label;  /* "my-svc", must not start with a digit */
name_checker check_qualified_name; /* "example.com/MyName": label keys, finalizers, resources */
name_checker check_label_value, check_path_segment, check_any_name, check_config_key, check_env_name, check_port_name;

/* Appends what is wrong to why (may be NULL), faults separated by "; "; true when nothing is. */
bool name_fits(struct str s, name_check check, struct buf *why);
