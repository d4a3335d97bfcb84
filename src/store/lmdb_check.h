/* Tells whether an LMDB file of the store's can be handed to LMDB. Private to store/. */
#pragma once

#include <stddef.h>

/* What is wrong with it, or NULL. */
const char *lmdb_check(const char *file, size_t bytes);
/* The same for a file open for reading and writing; one that was being created when the power went is emptied.
 * -EUCLEAN with the problem, or what the system said. */
int lmdb_check_file(int fd, const char **ret_problem);
