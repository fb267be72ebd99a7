#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Files
 *
 * The browser application, read into memory once at start: a request can only ever name what was
 * there then, so no path leads out of the folder, and nothing is opened while serving. X.gz
 * beside X is X compressed.
 */

#include <stddef.h>

#include "base/cleanup.h"
#include "base/reason.h"

struct MHD_Response;
typedef struct HttpFiles HttpFiles;

enum {
    _HTTP_FILES_E_SUCCESS,
    HTTP_FILES_E_REFUSED, /* no folder, no index.html, too large: the reason says which */
};

int http_files_new(HttpFiles **filesp, const char *folder, Reason *reason);
HttpFiles *http_files_free(HttpFiles *files);

/**
 * http_files_find() - the answer for a decoded path: the file, its 304 when `if_none_match` has
 * its ETag, index.html for a path of the application, or NULL (404). The response stays the
 * files' own.
 */
struct MHD_Response *http_files_find(const HttpFiles *files, const char *path,
                                     const char *accept_encoding, const char *if_none_match,
                                     unsigned *statusp);

DEFINE_CLEANUP(HttpFiles *, http_files_free)
