/* SPDX-License-Identifier: Apache-2.0 */

#include "channel/version.h"

#include <stdlib.h>
#include <string.h>

enum { MINORS_BEFORE = 2, DIGITS_MAX = 9 };

typedef struct Version {
    unsigned long major, minor;
} Version;

/** read_number() - what follows it, NULL: it is none */
static const char *read_number(const char *text, unsigned long *number) {
    size_t n = strspn(text, "0123456789");
    if (n == 0 || n > DIGITS_MAX)
        return NULL;
    *number = strtoul(text, NULL, 10);
    return text + n;
}

/* MAJOR.MINOR, and behind it anything that is not a digit */
static bool version_read(Version *version, const char *text) {
    const char *rest = read_number(text, &version->major);
    return rest && *rest == '.' && read_number(rest + 1, &version->minor);
}

Cause version_judge(const char *hub, const char *probe) {
    Version here;
    Version there;
    if (!version_read(&here, hub) || !version_read(&there, probe))
        return CAUSE_NONE;
    if (there.major != here.major)
        return there.major < here.major ? CAUSE_PEER_VERSION_OLD : CAUSE_PEER_VERSION_NEW;
    if (there.minor > here.minor)
        return CAUSE_PEER_VERSION_NEW;
    return here.minor - there.minor > MINORS_BEFORE ? CAUSE_PEER_VERSION_OLD : CAUSE_NONE;
}
