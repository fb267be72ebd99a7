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
        return CAUSE_NONE; /* gone: reading says so */
    if (!(request.ifr_flags & IFF_UP))
        return CAUSE_LINK_DOWN;
    return request.ifr_flags & IFF_RUNNING ? CAUSE_NONE : CAUSE_NO_CARRIER;
}

void trouble_begin(Trouble *trouble, const char *interface, uint64_t now_ms) {
    *trouble = (Trouble){
        .interface = interface,
        .link = CAUSE_NONE,
        .packet_ms = now_ms,
        .patience_ms = SILENT_FIRST_MS,
    };
}

static void warn(const Trouble *trouble, Cause cause, const char *detail) {
    char at[IF_NAMESIZE + 4];
    char line[512];
    (void)snprintf(at, sizeof(at), "-i %s", trouble->interface);
    cause_line(line, sizeof(line), cause, at, detail);
    log_warning("%s", line);
}

static void look_at_link(Trouble *trouble, uint64_t now_ms) {
    Cause link = trouble_link(trouble->interface);
    if (link == trouble->link)
        return;
    trouble->link = link;
    if (link != CAUSE_NONE) {
        warn(trouble, link, "");
        return;
    }
    log_notice("-i %s: the interface is up", trouble->interface);
    trouble->packet_ms = now_ms; /* patience begins anew */
}

static void look_at_packets(Trouble *trouble, uint64_t packets, uint64_t now_ms) {
    uint64_t quiet_ms = now_ms - trouble->packet_ms;
    if (packets != trouble->packets) {
        if (trouble->silent)
            log_notice("-i %s: packets come again", trouble->interface);
        trouble->packets = packets;
        trouble->packet_ms = now_ms;
        trouble->silent = false;
    } else if (!trouble->silent && trouble->link == CAUSE_NONE &&
               quiet_ms >= trouble->patience_ms) {
        char detail[32];
        (void)snprintf(detail, sizeof(detail), "%u s", (unsigned)(quiet_ms / 1000));
        warn(trouble, CAUSE_NO_PACKETS, detail);
        trouble->silent = true;
        if (trouble->patience_ms < SILENT_MOST_MS)
            trouble->patience_ms *= 2;
    }
}

void trouble_spool(Trouble *trouble, bool letting_go, bool disk_failing, uint64_t now_ms) {
    if (letting_go)
        trouble->spool_full_ms = now_ms;
    trouble->disk_failing = disk_failing;
}

void trouble_second(Trouble *trouble, uint64_t packets, uint64_t now_ms) {
    if (!trouble->interface)
        return;
    look_at_link(trouble, now_ms);
    look_at_packets(trouble, packets, now_ms);
}

size_t trouble_causes(const Trouble *trouble, uint64_t now_ms, Cause causes[TROUBLE_MAX]) {
    size_t n = 0;
    if (trouble->spool_full_ms && now_ms - trouble->spool_full_ms < SPOOL_FULL_MS)
        causes[n++] = CAUSE_SPOOL_FULL;
    if (trouble->disk_failing)
        causes[n++] = CAUSE_SPOOL_DISK;
    if (trouble->link != CAUSE_NONE)
        causes[n++] = trouble->link;
    return n;
}
