#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Listeners
 *
 * Opens the socket, so that what is wrong with an address or a port is said clearly, and starts
 * libmicrohttpd on it.
 */

#include <microhttpd.h>

#include "http/server.h"

typedef struct HttpCallbacks {
    void *cls;
    MHD_AccessHandlerCallback on_request;
    MHD_RequestCompletedCallback on_completed;
    MHD_NotifyConnectionCallback on_connection;
    size_t (*unescape)(void *cls, struct MHD_Connection *connection, char *text);
} HttpCallbacks;

/* answers as http_server_listen() */
int http_listen(struct MHD_Daemon **daemonp, const HttpListen *listen, const HttpConfig *config,
                const HttpCallbacks *callbacks, uint16_t *portp, Reason *reason);
