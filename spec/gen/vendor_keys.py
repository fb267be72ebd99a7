#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The vendor keys of the build as rows of C: vendor_keys.py KID:HEX…"""
import re
import sys

if len(sys.argv) < 2:
    sys.exit("-Dlicense_keys names no key")
for key in sys.argv[1:]:
    kid, _, text = key.partition(":")
    if not re.fullmatch(r"[a-z0-9_-]{1,16}", kid) or not re.fullmatch(r"[0-9a-f]{64}", text):
        sys.exit(f"-Dlicense_keys: {key!r} is not KID:HEX with 64 digits; weir-license keygen prints it")
    row = ", ".join(f"0x{byte:02x}" for byte in bytes.fromhex(text))
    print(f'{{"{kid}", {{{row}}}}},')
