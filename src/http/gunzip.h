/* A body in gzip, unpacked as it comes: one member after another, as Go's reader takes it. */
#pragma once

#include "base/str.h"

struct gunzip;

struct gunzip *gunzip_new(void);
void gunzip_free(struct gunzip *g);                  /* NULL is fine */
void gunzip_give(struct gunzip *g, struct str data); /* copied */
/* 1: *ret has some of what is in it, until the next call; 0: there is no more, and *ret_why is NULL if nothing is
 * missing; -EPROTO: it is broken, *ret_why says how. */
int gunzip_take(struct gunzip *g, struct str *ret, const char **ret_why);
