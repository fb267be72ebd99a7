/* SPDX-License-Identifier: Apache-2.0 */

#include <string.h>

#include "zmtp/curve_call.h"
#include "zmtp/line_inner.h"

/** is_error() - the server will not have us, and says so: "\5ERROR", a length, why */
static bool is_error(const uint8_t *body, size_t size) {
    return size >= 6 && memcmp(body,
                               "\x05"
                               "ERROR",
                               6) == 0;
}

static ZmtpFault fault_of(CurveVerdict verdict) {
    switch (verdict) {
    case CURVE_GOOD:
        return ZMTP_FINE;
    case CURVE_WRONG_KEY:
        return ZMTP_WRONG_KEY;
    case CURVE_MALFORMED:
        break;
    }
    return ZMTP_MALFORMED;
}

ZmtpFault zmtp_call_hello(ZmtpLine *line, const ZmtpHost *host) {
    uint8_t *to = zmtp_put_command(host->out, CURVE_HELLO_BYTES);
    if (!to)
        return ZMTP_NO_MEMORY;
    line->state = ZMTP_WELCOME;
    return curve_call_hello(&line->curve, host->call, to) ? ZMTP_FINE : ZMTP_WRONG_KEY;
}

ZmtpFault zmtp_call_welcome(ZmtpLine *line, const ZmtpHost *host, const uint8_t *body,
                            size_t size) {
    uint8_t metadata[32], initiate[CURVE_INITIATE_MAX_BYTES];
    const size_t n_metadata = zmtp_metadata(host->kind, metadata);
    size_t n = 0;
    if (is_error(body, size))
        return ZMTP_UNWANTED;
    const CurveVerdict verdict = curve_call_initiate(&line->curve, host->call, body, size, metadata,
                                                     n_metadata, initiate, &n);
    if (verdict != CURVE_GOOD)
        return fault_of(verdict);
    uint8_t *to = zmtp_put_command(host->out, n);
    if (!to)
        return ZMTP_NO_MEMORY;
    memcpy(to, initiate, n);
    line->state = ZMTP_READY;
    return ZMTP_FINE;
}

ZmtpFault zmtp_call_ready(ZmtpLine *line, const ZmtpHost *host, const uint8_t *body, size_t size) {
    uint8_t metadata[CURVE_INITIATE_MAX_BYTES];
    size_t n = 0;
    if (is_error(body, size))
        return ZMTP_UNWANTED;
    const CurveVerdict verdict =
        curve_call_ready(&line->curve, host->call, body, size, metadata, &n);
    if (verdict != CURVE_GOOD)
        return fault_of(verdict);
    return zmtp_fits(host->kind, metadata, n) ? zmtp_up(line, host) : ZMTP_OTHER_SOCKET;
}
