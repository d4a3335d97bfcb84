/* Events live for an hour. Private to src/apiserver. */
#pragma once

#include "apiserver/server.h"

void expiry_start(struct apiserver *s); /* on the first HTTP worker */
void expiry_stop(struct apiserver *s);
