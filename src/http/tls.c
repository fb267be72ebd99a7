/* SPDX-License-Identifier: Apache-2.0 */

#include "http/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "base/error.h"

enum { SERIAL_BYTES = 16 };

static int set_name(gnutls_x509_crt_t certificate, const char *name) {
    uint8_t address[16];
    if (inet_pton(AF_INET, name, address) == 1)
        return gnutls_x509_crt_set_subject_alt_name(certificate, GNUTLS_SAN_IPADDRESS, address, 4,
                                                    GNUTLS_FSAN_APPEND);
    if (inet_pton(AF_INET6, name, address) == 1)
        return gnutls_x509_crt_set_subject_alt_name(certificate, GNUTLS_SAN_IPADDRESS, address, 16,
                                                    GNUTLS_FSAN_APPEND);
    return gnutls_x509_crt_set_subject_alt_name(certificate, GNUTLS_SAN_DNSNAME, name,
                                                (unsigned)strlen(name), GNUTLS_FSAN_APPEND);
}

/** fill() - gnutls codes: negative is a failure */
static int fill(gnutls_x509_crt_t certificate, gnutls_x509_privkey_t key, const char *const *names,
                size_t n_names, uint64_t now_s, unsigned days) {
    static const char common_name[] = "weir hub";
    const uint64_t day_s = 86400;
    uint8_t serial[SERIAL_BYTES];
    int r = gnutls_rnd(GNUTLS_RND_NONCE, serial, sizeof(serial));
    serial[0] &= 0x7f; /* positive, RFC 5280 section 4.1.2.2 */
    serial[0] |= 0x40;
    if (r >= 0)
        r = gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
                                         GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
    if (r >= 0)
        r = gnutls_x509_crt_set_version(certificate, 3);
    if (r >= 0)
        r = gnutls_x509_crt_set_serial(certificate, serial, sizeof(serial));
    if (r >= 0)
        r = gnutls_x509_crt_set_activation_time(certificate, (time_t)(now_s - day_s));
    if (r >= 0)
        r = gnutls_x509_crt_set_expiration_time(certificate, (time_t)(now_s + days * day_s));
    if (r >= 0)
        r = gnutls_x509_crt_set_dn_by_oid(certificate, GNUTLS_OID_X520_COMMON_NAME, 0, common_name,
                                          sizeof(common_name) - 1);
    for (size_t i = 0; i < n_names && r >= 0; i++)
        r = set_name(certificate, names[i]);
    if (r >= 0)
        r = gnutls_x509_crt_set_basic_constraints(certificate, 0, -1);
    if (r >= 0)
        r = gnutls_x509_crt_set_key_purpose_oid(certificate, GNUTLS_KP_TLS_WWW_SERVER, 0);
    if (r >= 0)
        r = gnutls_x509_crt_set_key(certificate, key);
    if (r >= 0)
        r = gnutls_x509_crt_sign2(certificate, certificate, key, GNUTLS_DIG_SHA256, 0);
    return r;
}

int http_tls_self_signed(Buffer *certificate_pem, Buffer *key_pem, const char *const *names,
                         size_t n_names, uint64_t now_s, unsigned days) {
    gnutls_x509_crt_t certificate = NULL;
    gnutls_x509_privkey_t key = NULL;
    gnutls_datum_t certificate_text = {0};
    gnutls_datum_t key_text = {0};
    int r = gnutls_x509_crt_init(&certificate);
    if (r >= 0)
        r = gnutls_x509_privkey_init(&key);
    if (r >= 0)
        r = fill(certificate, key, names, n_names, now_s, days);
    if (r >= 0)
        r = gnutls_x509_crt_export2(certificate, GNUTLS_X509_FMT_PEM, &certificate_text);
    if (r >= 0)
        r = gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &key_text);
    if (r >= 0) {
        buffer_put(certificate_pem, certificate_text.data, certificate_text.size);
        buffer_put(key_pem, key_text.data, key_text.size);
    }
    if (key_text.data)
        gnutls_memset(key_text.data, 0, key_text.size);
    gnutls_free(key_text.data);
    gnutls_free(certificate_text.data);
    if (key)
        gnutls_x509_privkey_deinit(key);
    if (certificate)
        gnutls_x509_crt_deinit(certificate);
    return r < 0 ? error_origin(-EIO) : 0;
}

int http_tls_check(const char *certificate_pem, const char *key_pem, Reason *reason) {
    gnutls_certificate_credentials_t credentials = NULL;
    if (gnutls_certificate_allocate_credentials(&credentials) < 0)
        return error_origin(-ENOMEM);
    const gnutls_datum_t certificate = {(uint8_t *)(uintptr_t)certificate_pem,
                                        (unsigned)strlen(certificate_pem)};
    const gnutls_datum_t key = {(uint8_t *)(uintptr_t)key_pem, (unsigned)strlen(key_pem)};
    int r =
        gnutls_certificate_set_x509_key_mem(credentials, &certificate, &key, GNUTLS_X509_FMT_PEM);
    gnutls_certificate_free_credentials(credentials);
    if (r >= 0)
        return 0;
    reason_set(reason, "the TLS certificate or its key cannot be used: %s", gnutls_strerror(r));
    return HTTP_TLS_E_REFUSED;
}
