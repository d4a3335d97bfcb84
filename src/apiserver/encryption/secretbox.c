/* libsodium is opened when secretbox is first used: base/lazy.h. */
#include "base/lazy.h"

#define SODIUM "libsodium.so.23", "libsodium23"

LAZY(crypto_secretbox_easy, SODIUM)
LAZY(crypto_secretbox_open_easy, SODIUM)
