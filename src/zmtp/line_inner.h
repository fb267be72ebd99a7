#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Inside the ZMTP Line
 *
 * Shared by line.c (frames, the end that is called, traffic) and line_call.c (the handshake of the
 * end that calls). Internal to the layer.
 */

#include "zmtp/line.h"

/** zmtp_put_command() - a frame of the handshake; where its `size` bytes go, or NULL */
uint8_t *zmtp_put_command(Buffer *to, size_t size);

/** zmtp_metadata() - what we say of ourselves; how many bytes */
size_t zmtp_metadata(ZmtpKind kind, uint8_t to[32]);

/** zmtp_fits() - is the peer's socket, by its metadata, one that ours is for? */
bool zmtp_fits(ZmtpKind kind, const uint8_t *metadata, size_t size);

/** zmtp_up() - the handshake is over */
ZmtpFault zmtp_up(ZmtpLine *line, const ZmtpHost *host);

/** zmtp_call_hello() - the peer's greeting is there */
ZmtpFault zmtp_call_hello(ZmtpLine *line, const ZmtpHost *host);
ZmtpFault zmtp_call_welcome(ZmtpLine *line, const ZmtpHost *host, const uint8_t *body, size_t size);
ZmtpFault zmtp_call_ready(ZmtpLine *line, const ZmtpHost *host, const uint8_t *body, size_t size);
