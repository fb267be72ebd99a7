/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/datagrams.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdalign.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

enum { JOINED_BYTES_MAX = 60000 };

#ifndef SOL_UDP
enum { SOL_UDP = 17 };
#endif

/* how many from the first on are as long as it, but for the last, which may be shorter */
static size_t count_alike(const struct iovec *parts, size_t n) {
    const size_t size = parts[0].iov_len;
    size_t bytes = size;
    size_t i = 1;
    while (i < n && parts[i - 1].iov_len == size && parts[i].iov_len <= size &&
           parts[i].iov_len > 0 && bytes + parts[i].iov_len <= JOINED_BYTES_MAX)
        bytes += parts[i++].iov_len;
    return i;
}

typedef struct Control {
    alignas(struct cmsghdr) uint8_t bytes[CMSG_SPACE(sizeof(uint16_t))];
} Control;

static void cut_at(struct msghdr *message, Control *control, uint16_t size) {
    message->msg_control = control->bytes;
    message->msg_controllen = sizeof(control->bytes);
    struct cmsghdr *header = CMSG_FIRSTHDR(message);
    memset(control, 0, sizeof(*control));
    header->cmsg_level = SOL_UDP;
    header->cmsg_type = UDP_SEGMENT;
    header->cmsg_len = CMSG_LEN(sizeof(size));
    memcpy(CMSG_DATA(header), &size, sizeof(size));
}

static DatagramsSent send_once(int fd, const struct iovec *parts, size_t n, bool join) {
    struct mmsghdr messages[DATAGRAMS_MAX] = {0};
    struct iovec copies[DATAGRAMS_MAX];
    Control controls[DATAGRAMS_MAX];
    size_t of[DATAGRAMS_MAX] = {0}; /* datagrams in each */
    size_t n_messages = 0;
    for (size_t at = 0; at < n; at += of[n_messages++]) {
        struct msghdr *message = &messages[n_messages].msg_hdr;
        of[n_messages] = join ? count_alike(parts + at, n - at) : 1;
        message->msg_iov = copies + at;
        message->msg_iovlen = of[n_messages];
        memcpy(copies + at, parts + at, of[n_messages] * sizeof(*parts));
        if (of[n_messages] > 1)
            cut_at(message, &controls[n_messages], (uint16_t)parts[at].iov_len);
    }
    const int went = sendmmsg(fd, messages, (unsigned)n_messages, MSG_NOSIGNAL);
    DatagramsSent sent = {0};
    for (int i = 0; i < went; i++) {
        sent.together = of[i];
        sent.n += sent.together;
    }
    return sent;
}

DatagramsSent datagrams_send(int fd, const struct iovec *parts, size_t n, bool *joinp) {
    const bool joined = *joinp && n > 1 && count_alike(parts, n) > 1;
    const DatagramsSent sent = send_once(fd, parts, n, *joinp);
    /* EIO: neither the card nor the way makes checksums; EINVAL: longer than the way takes */
    if (sent.n || !joined || (errno != EIO && errno != EINVAL && errno != EOPNOTSUPP))
        return sent;
    *joinp = false;
    return send_once(fd, parts, n, false);
}
