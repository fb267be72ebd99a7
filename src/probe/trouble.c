/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/trouble.h"

#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/log.h"

enum {
    SILENT_FIRST_MS = 8000,
    SILENT_MOST_MS = 600000,
    SPOOL_FULL_MS = 10000, /* said for so long after the last flow that was let go */
};

Cause trouble_link(const char *interface) {
    struct ifreq request = {0};
    cleanup(closep) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    (void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
    if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &request) < 0)
        return fd < 0 ? CAUSE_NONE : CAUSE_LINK_GONE;
    if (!(request.ifr_flags & IFF_UP))
        return CAUSE_LINK_DOWN;
    return request.ifr_flags & IFF_RUNNING ? CAUSE_NONE : CAUSE_NO_CARRIER;
}

void trouble_add(Trouble *trouble, const char *interface, uint64_t now_ms) {
    if (trouble->n == TROUBLE_INTERFACES_MAX)
        return;
    trouble->interfaces[trouble->n++] = (TroubleInterface){
        .name = interface,
        .link = CAUSE_NONE,
        .packet_ms = now_ms,
        .patience_ms = SILENT_FIRST_MS,
    };
}

static void warn(const TroubleInterface *one, Cause cause, const char *detail) {
    char at[IF_NAMESIZE + 4];
    char line[512];
    (void)snprintf(at, sizeof(at), "-i %s", one->name);
    cause_line(line, sizeof(line), cause, at, detail);
    log_warning("%s", line);
}

static void look_at_link(TroubleInterface *one, uint64_t now_ms) {
    Cause link = trouble_link(one->name);
    if (link == one->link)
        return;
    one->link = link;
    if (link != CAUSE_NONE) {
        warn(one, link, "");
        return;
    }
    log_notice("-i %s: the interface is up", one->name);
    one->packet_ms = now_ms; /* patience begins anew */
}

static void look_at_packets(TroubleInterface *one, uint64_t packets, uint64_t now_ms) {
    uint64_t quiet_ms = now_ms - one->packet_ms;
    if (packets != one->packets) {
        if (one->silent)
            log_notice("-i %s: packets come again", one->name);
        one->packets = packets;
        one->packet_ms = now_ms;
        one->silent = false;
    } else if (!one->silent && one->link == CAUSE_NONE && quiet_ms >= one->patience_ms) {
        char detail[32];
        (void)snprintf(detail, sizeof(detail), "%u s", (unsigned)(quiet_ms / 1000));
        warn(one, CAUSE_NO_PACKETS, detail);
        one->silent = true;
        if (one->patience_ms < SILENT_MOST_MS)
            one->patience_ms *= 2;
    }
}

void trouble_spool(Trouble *trouble, bool letting_go, bool disk_failing, uint64_t now_ms) {
    if (letting_go)
        trouble->spool_full_ms = now_ms;
    trouble->disk_failing = disk_failing;
}

void trouble_second(Trouble *trouble, size_t i, uint64_t packets, uint64_t now_ms) {
    if (i >= trouble->n)
        return;
    look_at_link(&trouble->interfaces[i], now_ms);
    look_at_packets(&trouble->interfaces[i], packets, now_ms);
}

/* of several interfaces the first that has one */
static Cause link_cause(const Trouble *trouble) {
    for (size_t i = 0; i < trouble->n; i++)
        if (trouble->interfaces[i].link != CAUSE_NONE)
            return trouble->interfaces[i].link;
    return CAUSE_NONE;
}

size_t trouble_causes(const Trouble *trouble, uint64_t now_ms, Cause causes[TROUBLE_MAX]) {
    size_t n = 0;
    if (trouble->spool_full_ms && now_ms - trouble->spool_full_ms < SPOOL_FULL_MS)
        causes[n++] = CAUSE_SPOOL_FULL;
    if (trouble->disk_failing)
        causes[n++] = CAUSE_SPOOL_DISK;
    const Cause link = link_cause(trouble);
    if (link != CAUSE_NONE)
        causes[n++] = link;
    return n;
}
