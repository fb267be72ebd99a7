#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * CRC-32C
 *
 * The Castagnoli checksum (RFC 3720 appendix B.4) of batches on the wire and in the spool. Uses the
 * processor's instruction where there is one.
 */

#include <stddef.h>
#include <stdint.h>

/** crc32c() - of the bytes; pass a former result as `crc` to go on, 0 to begin */
uint32_t crc32c(uint32_t crc, const void *bytes, size_t size);

/** crc32c_portable() - the same without the instruction; for the test and other processors */
uint32_t crc32c_portable(uint32_t crc, const void *bytes, size_t size);
