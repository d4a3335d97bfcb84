/* How a starting server tells `cube start` how far it is: lines on a pipe.
 *   "step TEXT"    something is ready        "ready"       the node is Ready
 *   "fatal TEXT"   it cannot start; TEXT is for the user
 */
#pragma once

#include "base/macro.h"

void step_open(int fd);                                /* -1: nobody listens */
void step_report(const char *fmt, ...) _printf_(1, 2); /* any thread */
void step_ready(void);
void step_fatal(const char *text);
