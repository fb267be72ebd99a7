#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Sanitized
 *
 * WEIR_SANITIZED is 1 in a build with AddressSanitizer or ThreadSanitizer (gcc and clang say so in
 * different ways), so that a long test can be a shorter one there; else 0.
 */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define WEIR_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define WEIR_SANITIZED 1
#endif
#endif

#ifndef WEIR_SANITIZED
#define WEIR_SANITIZED 0
#endif
