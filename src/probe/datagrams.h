#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Datagrams
 *
 * Many at a time to the peer of a connected UDP socket. Neighbours of one length are handed to the
 * kernel as one, which it cuts where the network card cannot (UDP_SEGMENT, Linux 4.18): the way
 * through the kernel costs more than the bytes. Where that is refused they go one by one.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

enum { DATAGRAMS_MAX = 32 };

typedef struct DatagramsSent {
    size_t n;        /* went, from the first on; 0: errno says why not */
    size_t together; /* of those, the last ones that went as one */
} DatagramsSent;

/** datagrams_send() - n: at most DATAGRAMS_MAX. *joinp: whether to join any, set to false when the
 * kernel does not */
DatagramsSent datagrams_send(int fd, const struct iovec *parts, size_t n, bool *joinp);
