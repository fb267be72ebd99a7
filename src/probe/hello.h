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

typedef struct HelloWords {
    const char *instance;  /* hello_draw_instance() */
    const char *token;     /* the join token of the key string; "" none */
    const char *licence;   /* the probe's own, a signed line; "" none */
    const char *system_id; /* that the licence is bound to */
} HelloWords;

/** hello_write() - append the object */
int hello_write(Buffer *hello, const ProbeConfig *config, const DeliverSource *source,
                const HelloWords *words);

void hello_draw_instance(char text[HELLO_INSTANCE_DIGITS + 1]);
