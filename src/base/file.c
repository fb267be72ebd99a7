/* SPDX-License-Identifier: Apache-2.0 */

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/error.h"

static int read_all(Buffer *buffer, int fd, const char *path, size_t max_bytes, Reason *reason) {
    size_t start = buffer->size;
    for (;;) {
        uint8_t *room = buffer_reserve(buffer, 16384);
        if (!room)
            return error_origin(-ENOMEM);
        ssize_t n = read(fd, room, 16384);
        if (n < 0) {
            reason_set(reason, "cannot read %s: %s", path, strerror(errno));
            return FILE_E_REFUSED;
        }
        if (n == 0)
            return 0;
        buffer->size += (size_t)n;
        if (buffer->size - start > max_bytes) {
            reason_set(reason, "%s is larger than the %zu bytes it may have", path, max_bytes);
            return FILE_E_REFUSED;
        }
    }
}

/* a pipe that nobody writes is opened at once, so that it can be refused */
int file_read(Buffer *buffer, const char *path, size_t max_bytes, Reason *reason) {
    struct stat st;
    cleanup(closep) int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0) {
        reason_set(reason, "cannot read %s: %s", path, strerror(errno));
        return FILE_E_REFUSED;
    }
    if (!S_ISREG(st.st_mode)) {
        reason_set(reason, "cannot read %s: it is %s, and no regular file", path,
                   S_ISDIR(st.st_mode) ? "a folder" : "a pipe or a device");
        return FILE_E_REFUSED;
    }
    return read_all(buffer, fd, path, max_bytes, reason);
}

int file_read_any(Buffer *buffer, const char *path, size_t max_bytes, Reason *reason) {
    cleanup(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        reason_set(reason, "cannot read %s: %s", path, strerror(errno));
        return FILE_E_REFUSED;
    }
    return read_all(buffer, fd, path, max_bytes, reason);
}
static int write_all(int fd, const uint8_t *bytes, size_t size) {
    while (size) {
        ssize_t n = write(fd, bytes, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        bytes += n;
        size -= (size_t)n;
    }
    return 0;
}

static int sync_folder_of(const char *path) {
    char copy[PATH_MAX];
    (void)snprintf(copy, sizeof(copy), "%s", path);
    cleanup(closep) int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

/** write_new() - the temporary file, complete and on disk */
static int write_new(const char *path, const void *bytes, size_t size, mode_t mode) {
    cleanup(closep) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    if (fd < 0)
        return -errno;
    int r = fchmod(fd, mode) < 0 ? -errno : 0;
    if (!r)
        r = write_all(fd, bytes, size);
    if (!r && fsync(fd) < 0)
        r = -errno;
    return r;
}

int file_write(const char *path, const void *bytes, size_t size, mode_t mode, Reason *reason) {
    char temporary[PATH_MAX];
    int n = snprintf(temporary, sizeof(temporary), "%s.new", path);
    if (n < 0 || (size_t)n >= sizeof(temporary)) {
        reason_set(reason, "cannot write %s: %s", path, strerror(ENAMETOOLONG));
        return FILE_E_REFUSED;
    }
    int r = write_new(temporary, bytes, size, mode);
    if (!r && rename(temporary, path) < 0)
        r = -errno;
    if (!r)
        r = sync_folder_of(path);
    if (r) {
        (void)unlink(temporary);
        reason_set(reason, "cannot write %s: %s", path, strerror(-r));
        return FILE_E_REFUSED;
    }
    return 0;
}

int dir_own(int *fdp, const char *path, Reason *reason) {
    if (mkdir(path, 0700) < 0 && errno != EEXIST) {
        reason_set(reason, "cannot make the folder %s: %s", path, strerror(errno));
        return FILE_E_REFUSED;
    }
    char lock[PATH_MAX];
    int n = snprintf(lock, sizeof(lock), "%s/lock", path);
    if (n < 0 || (size_t)n >= sizeof(lock)) {
        reason_set(reason, "%s: %s", path, strerror(ENAMETOOLONG));
        return FILE_E_REFUSED;
    }
    int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        reason_set(reason, "cannot write in the folder %s: %s", path, strerror(errno));
        return FILE_E_REFUSED;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        reason_set(reason, "the folder %s is in use by another process", path);
        (void)close(fd);
        return FILE_E_REFUSED;
    }
    *fdp = fd;
    return 0;
}
