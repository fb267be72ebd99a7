#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Protocols of One's Own
 *
 * The file of --ndpi-custom-protos, in the form of nDPI's protos.txt. nDPI 4.2 reads rubbish in
 * silence, ends on some of it, takes an IPv6 address for another one, and leaves out a last line
 * that has no end. So each line is checked here, and nDPI is given those that are right:
 *
 *     tcp:PORT[-PORT],udp:PORT[-PORT],ip:A.B.C.D[/BITS][:PORT],host:"NAME",...@PROTOCOL
 *     ip_risk_mask:A.B.C.D[/BITS]=NUMBER
 *     host_risk_mask:"NAME"=NUMBER
 *     trusted_issuer_dn:"TEXT"
 *
 * Blanks at the ends and around commas, empty lines and lines that begin with # are nothing.
 */

#include <stddef.h>

#include "base/buffer.h"
#include "base/reason.h"

enum {
    _CUSTOM_PROTOS_E_SUCCESS,
    CUSTOM_PROTOS_E_REFUSED, /* the reason has the line and what would be right */
};

/** custom_protos_check() - append the text's lines as nDPI takes them; a line for each, maybe empty
 */
int custom_protos_check(Buffer *rules, const char *text, size_t size, Reason *reason);

struct ndpi_detection_module_struct;

/**
 * custom_protos_load() - before ndpi_finalize_initialization(), and before there are threads that
 * write to standard output: what nDPI says there meanwhile goes nowhere
 */
int custom_protos_load(struct ndpi_detection_module_struct *module, const char *path,
                       Reason *reason);
