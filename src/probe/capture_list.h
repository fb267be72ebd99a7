#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The names in a list of capture files (--pcap-file-list): one a line, without the space around
 * it; empty lines and those that begin with # are none. A name that does not begin with / is one
 * beside the list.
 */

#include <stddef.h>

#include "base/cleanup.h"
#include "base/reason.h"

typedef struct CaptureList {
    char **names;
    size_t n;
} CaptureList;

enum {
    _CAPTURE_LIST_E_SUCCESS,
    CAPTURE_LIST_E_REFUSED, /* it cannot be read, or names none: the reason says so */
};

/** capture_list_read() - more names behind those there are */
int capture_list_read(CaptureList *list, const char *path, Reason *reason);

/** capture_list_add() - one */
int capture_list_add(CaptureList *list, const char *name);
void capture_list_deinit(CaptureList *list);
