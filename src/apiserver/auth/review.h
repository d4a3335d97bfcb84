/* Resources that are questions: TokenReview, SubjectAccessReview and their kin. Private to src/apiserver. */
#pragma once

#include "apiserver/server.h"

void legacy_binding(struct op *op); /* subresource.c */
