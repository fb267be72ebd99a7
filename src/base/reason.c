/* SPDX-License-Identifier: Apache-2.0 */

#include "base/reason.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void reason_set(Reason *reason, const char *format, ...) {
    if (!reason)
        return;
    va_list ap;
    va_start(ap, format);
    (void)vsnprintf(reason->text, sizeof(reason->text), format, ap);
    va_end(ap);
}

void reason_append(Reason *reason, const char *format, ...) {
    if (!reason)
        return;
    size_t used = strnlen(reason->text, sizeof(reason->text) - 1);
    va_list ap;
    va_start(ap, format);
    (void)vsnprintf(reason->text + used, sizeof(reason->text) - used, format, ap);
    va_end(ap);
}
