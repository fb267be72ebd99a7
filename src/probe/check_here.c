/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "channel/cause.h"
#include "channel/keystring.h"
#include "probe/capture.h"
#include "probe/capture_list.h"
#include "probe/check_inside.h"
#include "probe/collect_ports.h"
#include "probe/trouble.h"

enum {
    RING_BYTES = 1 << 20, /* enough to see that it can be had */
    ROOM_MIB = 64,        /* less than this is no room for a spool */
};

void check_key(Check *check) {
    const OptionList *keys = &check->config->keys;
    for (size_t i = 0; check->config->hubs.n && i < keys->n; i++) {
        char of[300] = "";
        KeyString key;
        Reason reason = {""};
        if (keys->n > 1)
            (void)snprintf(of, sizeof(of), " of %s", check->config->hubs.values[i]);
        if (keystring_parse(&key, keys->values[i], &reason)) /* they were read: does not come */
            check_fail(check, "key string%s: %s", of, reason.text);
        else if (key.notice[0])
            check_note(check, "key string%s: %s", of, key.notice);
        else
            check_ok(check, "key string%s: whole", of);
    }
}

/* --- folder and key pair ------------------------------------------------------------------ */

/* does another process hold its lock? See dir_own() */
static bool is_owned(const char *folder) {
    char path[PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s/lock", folder);
    cleanup(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

static bool has_file(const char *folder, const char *name) {
    char path[PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    return access(path, F_OK) == 0;
}

static void check_missing(Check *check, const char *folder) {
    char parent[PATH_MAX];
    (void)snprintf(parent, sizeof(parent), "%s", folder);
    char *slash = strrchr(parent, '/');
    if (slash && slash != parent)
        *slash = '\0';
    else
        (void)snprintf(parent, sizeof(parent), "%s", slash ? "/" : ".");
    struct statvfs disk;
    if (statvfs(parent, &disk) == 0 && disk.f_blocks == 0) /* the system's own, as /proc */
        check_fail(check, "folder %s: not there, and %s holds no files; give another --data-dir",
                   folder, parent);
    else if (access(parent, W_OK | X_OK) == 0)
        check_note(check, "folder %s: not there yet; the first run makes it and a key pair in it",
                   folder);
    else
        check_fail(
            check,
            "folder %s: not there, and cannot be made: %s: %s; make it, or give another --data-dir",
            folder, parent, strerror(errno));
}

static void check_keys(Check *check, const char *folder) {
    Reason reason = {""};
    if (!has_file(folder, "zmq-key.pub") && !has_file(folder, "zmq-key.priv")) {
        check_note(check, "folder %s: no key pair in it yet; the first run makes one", folder);
    } else if (key_pair_find(&check->keys, folder, KEY_STEM, &reason)) {
        check_fail(check, "folder %s: %s", folder,
                   reason.text[0] ? reason.text : "the key pair cannot be read");
    } else {
        check->own_keys = true;
        check_ok(check, "folder %s: can be written, key pair %.8s…", folder,
                 check->keys.public_z85);
    }
}

void check_folder(Check *check) {
    const char *folder = check->config->data_dir;
    struct stat st;
    if (check->config->hubs.n == 0)
        return;
    if (stat(folder, &st) < 0 && errno == ENOENT) {
        check_missing(check, folder);
    } else if (access(folder, R_OK | W_OK | X_OK) < 0 || !S_ISDIR(st.st_mode)) {
        check_fail(check,
                   "folder %s: %s; the probe's user needs to write there, or another --data-dir",
                   folder, S_ISDIR(st.st_mode) ? strerror(errno) : "is not a folder");
    } else if (is_owned(folder)) {
        check->running = true;
        check_note(check,
                   "folder %s: a probe is running on it; the hubs are tried with a key pair that "
                   "is thrown away",
                   folder);
    } else {
        check_keys(check, folder);
    }
}

/* --- input -------------------------------------------------------------------------------- */

static bool is_interface(const char *input) {
    return !strchr(input, '/') && if_nametoindex(input) != 0;
}

/* as the probe would open it, but for what others would notice: promiscuous mode, a large ring */
static bool try_input(Check *check, const char *input) {
    CaptureConfig config = {
        .input = input,
        .filter = check->config->filter,
        .snaplen = check->config->snaplen,
        .ring_bytes = RING_BYTES,
    };
    Reason reason = {""};
    Capture *capture = NULL;
    int r = capture_open(&capture, &config, &reason);
    capture_free(capture);
    check->usage = r == CAPTURE_E_USAGE;
    if (r)
        check_fail(check, "input %s", reason.text[0] ? reason.text : "cannot be opened");
    return r == 0;
}

static void check_collector(Check *check) {
    const ProbeConfig *config = check->config;
    Reason reason = {""};
    Capture *capture = NULL;
    if (collect_ports_open(&capture, 1, &config->collector_ports, config->filter, &reason) == 0)
        check_ok(check, "collector ports: can be opened");
    else
        check_fail(check, "%s", reason.text);
    capture_free(capture);
}

static void check_one_input(Check *check, const char *input) {
    if (strcmp(input, "-") == 0) {
        check_note(check, "input -: standard input is not looked at");
        return;
    }
    if (!try_input(check, input))
        return;
    Cause link = is_interface(input) ? trouble_link(input) : CAUSE_NONE;
    char line[512];
    if (link == CAUSE_NONE) {
        check_ok(check, "input %s: %s", input,
                 is_interface(input) ? "up, and packets may be captured" : "can be read");
        return;
    }
    cause_line(line, sizeof(line), link, input, "");
    check_fail(check, "input %s", line);
}

static void check_list(Check *check, const char *path) {
    CaptureList list = {.names = NULL};
    Reason reason = {""};
    if (capture_list_read(&list, path, &reason))
        check_fail(check, "input %s", reason.text);
    for (size_t i = 0; i < list.n; i++)
        check_one_input(check, list.names[i]);
    capture_list_deinit(&list);
}

void check_input(Check *check) {
    const ProbeConfig *config = check->config;
    if (config->collector_ports.n) {
        check_collector(check);
        return;
    }
    for (size_t i = 0; i < config->inputs.n; i++)
        check_one_input(check, config->inputs.values[i]);
    if (config->file_list)
        check_list(check, config->file_list);
}

/* --- offloads: with them packets are seen before they are cut, or after they were joined ---- */

static const struct {
    const char *name;
    uint32_t command;
    uint32_t bit; /* of the answer */
} offloads[] = {
    {"gro", ETHTOOL_GGRO, 1},
    {"lro", ETHTOOL_GFLAGS, ETH_FLAG_LRO},
    {"tso", ETHTOOL_GTSO, 1},
    {"gso", ETHTOOL_GGSO, 1},
};

static bool is_on(int fd, const char *interface, size_t i) {
    struct ifreq request = {0};
    struct ethtool_value value = {.cmd = offloads[i].command};
    (void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
    request.ifr_data = (void *)&value;
    return ioctl(fd, SIOCETHTOOL, &request) == 0 && (value.data & offloads[i].bit);
}

static void check_offloads_of(Check *check, const char *interface) {
    cleanup(closep) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    Reason on = {""};
    if (!is_interface(interface) || fd < 0)
        return;
    for (size_t i = 0; i < sizeof(offloads) / sizeof(offloads[0]); i++)
        if (is_on(fd, interface, i))
            reason_append(&on, " %s off", offloads[i].name);
    if (on.text[0])
        check_note(check,
                   "offloads of %s: packets are counted joined or before they are cut; their sizes "
                   "are not those on the wire: ethtool -K %s%s",
                   interface, interface, on.text);
    else
        check_ok(check, "offloads of %s: none that join or cut packets", interface);
}

void check_offloads(Check *check) {
    const ProbeConfig *config = check->config;
    for (size_t i = 0; !config->collector_ports.n && i < config->inputs.n; i++)
        check_offloads_of(check, config->inputs.values[i]);
}

/* --- spool -------------------------------------------------------------------------------- */

/* the folder, or what is nearest to it of what is there already */
static void nearest(char *path) {
    while (access(path, F_OK) < 0) {
        char *slash = strrchr(path, '/');
        if (!slash || slash == path) {
            (void)snprintf(path, 2, "%s", slash ? "/" : ".");
            return;
        }
        *slash = '\0';
    }
}

void check_spool(Check *check) {
    const ProbeConfig *config = check->config;
    const unsigned long long limit = config->spool_bytes >> 20;
    char folder[PATH_MAX];
    char there[PATH_MAX];
    struct statvfs disk = {0};
    if (config->hubs.n == 0)
        return;
    if (!config->spool_bytes) {
        check_note(check, "spool: in memory only, %llu MiB: what waits there ends with the probe",
                   (unsigned long long)(config->spool_memory_bytes >> 20));
        return;
    }
    (void)snprintf(folder, sizeof(folder), "%s%s",
                   config->spool_dir ? config->spool_dir : config->data_dir,
                   config->spool_dir ? "" : "/spool");
    memcpy(there, folder, sizeof(there));
    nearest(there);
    if (access(there, W_OK | X_OK) < 0 || statvfs(there, &disk) < 0) {
        check_fail(check,
                   "spool %s: cannot be written: %s: %s; the probe's user needs to write there, or "
                   "another --spool-dir",
                   folder, there, strerror(errno));
        return;
    }
    const unsigned long long room = (unsigned long long)disk.f_bavail * disk.f_frsize >> 20;
    if (room < ROOM_MIB)
        check_fail(check, "spool %s: %llu MiB are free; make room, or give another --spool-dir",
                   folder, room);
    else if (room < limit)
        check_note(check, "spool %s: %llu MiB are free, --spool-size is %llu MiB", folder, room,
                   limit);
    else
        check_ok(check, "spool %s: can be written, %llu MiB at most", folder, limit);
}
