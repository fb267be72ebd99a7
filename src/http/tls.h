#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * TLS Certificates
 *
 * For a server without a certificate of its own: a self-signed one (ECDSA P-256) for the names
 * and addresses given.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/reason.h"

enum {
    _HTTP_TLS_E_SUCCESS,
    HTTP_TLS_E_REFUSED, /* not a certificate, not its key: the reason says which */
};

/** http_tls_self_signed() - PEM texts, valid from a day before now_s for `days` */
int http_tls_self_signed(Buffer *certificate_pem, Buffer *key_pem, const char *const *names,
                         size_t n_names, uint64_t now_s, unsigned days);

/** http_tls_check() - is this a certificate (chain), and does the key fit? */
int http_tls_check(const char *certificate_pem, const char *key_pem, Reason *reason);
