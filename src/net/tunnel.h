#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Tunnels
 *
 * The rows of tunnel.def as numbers and names.
 */

#include <stddef.h>
#include <stdint.h>

typedef enum TunnelType {
    TUNNEL_NONE,
#define TUNNEL(name, ...) TUNNEL_##name,
#include "net/tunnel.def"
#undef TUNNEL
    _TUNNEL_N,
} TunnelType;

enum {
    TUNNEL_DEPTH_MAX = 8, /* in each other; what lies deeper is not entered */
    TUNNEL_TEXT_MAX = TUNNEL_DEPTH_MAX * 12,
};

/** tunnel_name() - "vxlan"; NULL of a number that is none */
const char *tunnel_name(TunnelType type);

/** tunnel_chain() - "vxlan in gre" of types given outermost first; the length of the text */
size_t tunnel_chain(const uint8_t *types, unsigned depth, char text[TUNNEL_TEXT_MAX]);
