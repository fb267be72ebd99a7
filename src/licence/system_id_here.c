/* SPDX-License-Identifier: Apache-2.0 */

#include <ctype.h>
#include <dirent.h>
#include <limits.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/file.h"
#include "licence/system_id.h"

enum { RAW_MAX = 128, MAC_BYTES = 6, MAC_ROOM = 32 };

static void strip(char *text) {
    size_t n = strlen(text);
    while (n && isspace((unsigned char)text[n - 1]))
        text[--n] = '\0';
}

/* the first line; "" when it cannot be read */
static void read_line(char raw[RAW_MAX], const char *root, const char *path) {
    char full[PATH_MAX];
    raw[0] = '\0';
    (void)snprintf(full, sizeof(full), "%s%s", root, path);
    cleanup(fclosep) FILE *file = fopen(full, "re");
    if (file && !fgets(raw, RAW_MAX, file))
        raw[0] = '\0';
    strip(raw);
}

static void read_machine_id(char raw[RAW_MAX], const char *root) {
    read_line(raw, root, "/etc/machine-id");
    if (strlen(raw) != 32) /* "uninitialized" of an image that was never started */
        raw[0] = '\0';
}

/* firmware that was never given one says all zeroes or all ones: thousands of machines do */
static void read_dmi(char raw[RAW_MAX], const char *root) {
    read_line(raw, root, "/sys/class/dmi/id/product_uuid");
    for (char *c = raw; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    if (strspn(raw, "0-") == strlen(raw) || strspn(raw, "f-") == strlen(raw))
        raw[0] = '\0';
}

/* what was burnt into the card, not what a driver, a bond or a container made up */
static bool permanent_mac(int fd, const char *name, uint8_t mac[MAC_BYTES]) {
    union { /* an address follows the head */
        struct ethtool_perm_addr head;
        uint8_t bytes[sizeof(struct ethtool_perm_addr) + MAC_ROOM];
    } answer = {.head = {.cmd = ETHTOOL_GPERMADDR, .size = MAC_ROOM}};
    struct ifreq request = {.ifr_data = (void *)&answer};
    (void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    if (ioctl(fd, SIOCETHTOOL, &request) < 0 || answer.head.size != MAC_BYTES)
        return false;
    memcpy(mac, answer.bytes + sizeof(answer.head), MAC_BYTES);
    static const uint8_t none[MAC_BYTES];
    return memcmp(mac, none, MAC_BYTES) != 0 && !(mac[0] & 3); /* neither local nor a group's */
}

static bool has_device(const char *root, const char *name) {
    char path[PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s/sys/class/net/%s/device", root, name);
    return access(path, F_OK) == 0;
}

/* the lowest of all cards, so that the order in which they were found does not matter */
static void read_mac(char raw[RAW_MAX], const char *root) {
    uint8_t lowest[MAC_BYTES] = {0};
    bool found = false;
    raw[0] = '\0';
    cleanup(closep) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct if_nameindex *all = fd < 0 ? NULL : if_nameindex();
    for (size_t i = 0; all && all[i].if_index; i++) {
        uint8_t mac[MAC_BYTES];
        if (!has_device(root, all[i].if_name) || !permanent_mac(fd, all[i].if_name, mac))
            continue;
        if (!found || memcmp(mac, lowest, MAC_BYTES) < 0)
            memcpy(lowest, mac, MAC_BYTES);
        found = true;
    }
    if (all)
        if_freenameindex(all);
    if (found)
        (void)snprintf(raw, RAW_MAX, "%02x:%02x:%02x:%02x:%02x:%02x", lowest[0], lowest[1],
                       lowest[2], lowest[3], lowest[4], lowest[5]);
}

/* the name in by-uuid of the device that / is on */
static void read_root_uuid(char raw[RAW_MAX], const char *root) {
    char path[PATH_MAX];
    struct stat of_root;
    raw[0] = '\0';
    (void)snprintf(path, sizeof(path), "%s/dev/disk/by-uuid", root);
    DIR *folder = opendir(path);
    (void)snprintf(path, sizeof(path), "%s/", root);
    if (!folder || stat(path, &of_root) < 0) {
        if (folder)
            (void)closedir(folder);
        return;
    }
    for (const struct dirent *entry; (entry = readdir(folder));) {
        struct stat device;
        if (fstatat(dirfd(folder), entry->d_name, &device, 0) == 0 && S_ISBLK(device.st_mode) &&
            device.st_rdev == of_root.st_dev)
            (void)snprintf(raw, RAW_MAX, "%.*s", RAW_MAX - 1, entry->d_name);
    }
    (void)closedir(folder);
}

static void (*const readers[_SYSTEM_FACT_N])(char raw[RAW_MAX], const char *root) = {
    [SYSTEM_MACHINE_ID] = read_machine_id,
    [SYSTEM_DMI_UUID] = read_dmi,
    [SYSTEM_MAC] = read_mac,
    [SYSTEM_ROOT_UUID] = read_root_uuid,
};

static bool read_cache(SystemId *id, const char *path) {
    char raw[RAW_MAX];
    Reason ignored;
    read_line(raw, "", path);
    return system_id_parse(id, raw, &ignored) == 0;
}

/* of a file below a folder that is there */
static void make_folder(const char *path) {
    char folder[PATH_MAX];
    (void)snprintf(folder, sizeof(folder), "%s", path);
    char *end = strrchr(folder, '/');
    if (!end || end == folder)
        return;
    *end = '\0';
    (void)mkdir(folder, 0755);
}

static void read_facts(SystemId *here, const char *root) {
    *here = (SystemId){0};
    for (size_t i = 0; i < _SYSTEM_FACT_N; i++) {
        char raw[RAW_MAX];
        readers[i](raw, root);
        if (raw[0])
            system_fact_hash(here->hashes[i], (SystemFact)i, raw);
    }
}

/* other facts, and not only fewer of the same: a namespace may show less of this machine */
static bool is_news(const SystemId *here, const SystemId *cached) {
    const size_t n = system_id_facts(here);
    return n && memcmp(here, cached, sizeof(*here)) != 0 &&
           (n >= system_id_facts(cached) || system_id_matches(here, cached) < n);
}

void system_id_look(SystemId *id, const char *root, const char *cache) {
    SystemId cached = {0};
    read_facts(id, root);
    if (geteuid() == 0 || !cache || !read_cache(&cached, cache) || !system_id_matches(id, &cached))
        return;
    for (size_t i = 0; i < _SYSTEM_FACT_N; i++)
        if (!id->hashes[i][0])
            memcpy(id->hashes[i], cached.hashes[i], sizeof(id->hashes[i]));
}

void system_id_here(SystemId *id, const char *root, const char *cache) {
    SystemId cached = {0};
    system_id_look(id, root, cache);
    if (geteuid() != 0 || !cache)
        return;
    (void)read_cache(&cached, cache);
    if (is_news(id, &cached)) {
        char text[SYSTEM_ID_CHARS];
        char line[SYSTEM_ID_CHARS + 1];
        int n = snprintf(line, sizeof(line), "%s\n", system_id_text(id, text));
        make_folder(cache);
        (void)file_write(cache, line, (size_t)n, 0644, NULL); /* if not, then next time */
    }
}

void system_id_print(FILE *out) {
    SystemId here;
    char text[SYSTEM_ID_CHARS];
    system_id_here(&here, "", SYSTEM_ID_CACHE);
    (void)fprintf(out, "System ID %s\n", system_id_text(&here, text));
    if (system_id_facts(&here) < SYSTEM_FACTS_NEEDED)
        (void)fprintf(out, "This machine shows too little of itself for a licence bound to it: use "
                           "a cloud licence on the hub, which is bound to none.\n");
}
