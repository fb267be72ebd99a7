#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Files
 *
 * Whole small files, and state directories with one owner.
 */

#include <stddef.h>
#include <sys/types.h>

#include "base/buffer.h"
#include "base/reason.h"

enum {
    _FILE_E_SUCCESS,
    FILE_E_REFUSED, /* missing, no permission, no file, in use, too large: the reason says which */
};

/** file_read() - append the whole file to the buffer; larger than max_bytes is refused, and so is
 * what is no regular file: it never waits for a pipe's other end */
int file_read(Buffer *buffer, const char *path, size_t max_bytes, Reason *reason);

/** file_read_any() - the same of a pipe or a terminal too, for what a person names in a command */
int file_read_any(Buffer *buffer, const char *path, size_t max_bytes, Reason *reason);

/** file_write() - temporary file, fsync, rename, fsync of the folder: old or new, never half */
int file_write(const char *path, const void *bytes, size_t size, mode_t mode, Reason *reason);

/**
 * dir_own() - make the folder (mode 0700) if it is missing, check that it can be written, and take
 * its lock, so that a second process on it is refused. *fdp holds the lock until it is closed.
 */
int dir_own(int *fdp, const char *path, Reason *reason);
