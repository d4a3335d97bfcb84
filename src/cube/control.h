/* The server's control socket, <run>/control: `cube image` asks the process that has the image store open, so that
 * there is one writer and a running pod can use an image at once. A request carries the caller's stdin and stdout. */
#pragma once

#include <stdio.h>

#include "cube/cube.h"
#include "runtime/runtime.h"

struct control;
int control_start(const struct cluster *c, struct runtime *runtime, struct control **ret, struct error *err);
void control_stop(struct control *c); /* waits for requests under way */

/* Runs `cube image argv…` in the running server. -ECONNREFUSED: none is running. Else as image_run. */
int control_ask(const struct cluster *c, int argc, char **argv, struct error *err);

/* The image commands themselves. in_fd is what "-" reads; out is where the answer is printed. */
int image_run(struct runtime *r, int argc, char **argv, int in_fd, FILE *out, struct error *err);
