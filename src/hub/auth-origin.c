/* SPDX-License-Identifier: Apache-2.0 */

#include "hub/auth-origin.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

enum { HOST_MAX = 255 };

/** host_part() - the host without its port, and without the brackets of an IPv6 address */
static bool host_part(const char *host, char *text, bool *bracketsp) {
    bool brackets = host[0] == '[';
    const char *start = host + brackets;
    size_t size = strcspn(start, brackets ? "]" : ":");
    const char *rest = start + size;
    if (brackets) {
        if (*rest != ']')
            return false;
        rest++;
    }
    if (*rest == ':') {
        size_t digits = strspn(rest + 1, "0123456789");
        if (digits == 0 || digits > 5)
            return false;
        rest += 1 + digits;
    }
    if (*rest || size == 0 || size > HOST_MAX)
        return false;
    memcpy(text, start, size);
    text[size] = 0;
    *bracketsp = brackets;
    return true;
}

bool auth_host_known(const char *host, const char *const *names, size_t n_names) {
    char text[HOST_MAX + 1];
    bool brackets = false;
    uint8_t address[16];
    if (!host || !host_part(host, text, &brackets))
        return false;
    if (brackets)
        return inet_pton(AF_INET6, text, address) == 1;
    if (inet_pton(AF_INET, text, address) == 1 || strcasecmp(text, "localhost") == 0)
        return true;
    for (size_t i = 0; i < n_names; i++)
        if (strcasecmp(text, names[i]) == 0)
            return true;
    return false;
}

bool auth_origin_same(const char *origin, const char *host) {
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < 2; i++) {
        size_t size = strlen(schemes[i]);
        if (strncasecmp(origin, schemes[i], size) == 0)
            return *host && strcasecmp(origin + size, host) == 0;
    }
    return false; /* "null", or something that is not a web page */
}
