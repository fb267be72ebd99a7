#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Hello
 *
 * What a probe says of itself when a session begins: its name, its id, what it reads, its join
 * token, and a number of this very run. The link adds what it knows itself.
 */

#include "base/buffer.h"
#include "probe/deliver.h"

enum { HELLO_INSTANCE_DIGITS = 16 };

/** hello_write() - *instancep: the digits of the run within it, to be written over by another */
int hello_write(Buffer *hello, char **instancep, const ProbeConfig *config,
                const DeliverSource *source, const char *token);

void hello_draw_instance(char text[HELLO_INSTANCE_DIGITS + 1]);
