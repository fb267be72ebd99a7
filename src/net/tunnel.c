/* SPDX-License-Identifier: Apache-2.0 */

#include "net/tunnel.h"

#include <string.h>

static const char *const names[_TUNNEL_N] = {
#define TUNNEL(id, name, sentence) [TUNNEL_##id] = (name),
#include "net/tunnel.def"
#undef TUNNEL
};

#define TUNNEL(id, name, sentence)                                                                 \
    _Static_assert(sizeof(name) + sizeof(" in ") - 2 <= TUNNEL_TEXT_MAX / TUNNEL_DEPTH_MAX,        \
                   "a chain of them fits");
#include "net/tunnel.def"
#undef TUNNEL

const char *tunnel_name(TunnelType type) {
    return type < _TUNNEL_N ? names[type] : NULL;
}

static char *append(char *to, const char *text) {
    size_t n = strlen(text);
    memcpy(to, text, n);
    return to + n;
}

size_t tunnel_chain(const uint8_t *types, unsigned depth, char text[TUNNEL_TEXT_MAX]) {
    char *to = text;
    for (unsigned i = depth; i-- > 0;) {
        if (to != text)
            to = append(to, " in ");
        const char *name = tunnel_name(types[i]);
        if (name)
            to = append(to, name);
    }
    return (size_t)(to - text);
}
