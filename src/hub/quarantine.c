/* SPDX-License-Identifier: Apache-2.0 */

#include "hub/quarantine.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"

static size_t count_files(const char *path) {
    DIR *dir = opendir(path);
    size_t n = 0;
    while (dir && readdir(dir))
        n++;
    if (dir)
        (void)closedir(dir);
    return n;
}

void quarantine_put(const char *data_dir, const HubBatch *batch, Reason *where) {
    char path[PATH_MAX];
    int at = snprintf(path, sizeof(path), "%s/quarantine", data_dir);
    if (mkdir(path, 0700) < 0 && errno != EEXIST) {
        reason_set(where, "it could not be kept: %s: %s", path, strerror(errno));
        return;
    }
    if (count_files(path) >= QUARANTINE_FILES_MAX) {
        reason_set(where, "it was not kept: %s holds %d already", path, QUARANTINE_FILES_MAX);
        return;
    }
    at += snprintf(path + at, sizeof(path) - (size_t)at, "/");
    for (size_t i = 0; i < sizeof(batch->epoch.bytes); i++)
        at += snprintf(path + at, sizeof(path) - (size_t)at, "%02x", batch->epoch.bytes[i]);
    (void)snprintf(path + at, sizeof(path) - (size_t)at, "-%" PRIu64 ".batch", batch->last);
    Reason reason = {0};
    if (file_write(path, batch->payload, batch->size, 0600, &reason))
        reason_set(where, "it could not be kept: %s", reason.text);
    else
        reason_set(where, "set aside as %s", path);
}
