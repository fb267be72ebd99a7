#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# time limit: 600 s
# Captures through a weir-probe built with AddressSanitizer and UBSan, with nDPI and
# JSON: whatever the packets hold, no report and no exit code but 0 (read) and 1 (cannot be read).
# Of the corpus one in four (which, depends on the name alone), all with WEIR_CORPUS=all, as `make
# corpus` has it; of what is malformed always all. The build is $WEIR_ASAN_BUILD (meson setup -Db_sanitize=address,undefined), as make check makes it.
set -euo pipefail

build=${WEIR_ASAN_BUILD:-$WEIR_SOURCE/build-asan}
probe=$build/weir-probe
[ -x "$probe" ] || { echo "no $probe: make check builds it"; exit 1; }

here=$(mktemp -d)
chmod 755 "$here" # for the probe, which gives up being root
trap 'rm -rf "$here"' EXIT

# what nDPI itself loads and keeps is its own business
export ASAN_OPTIONS=exitcode=99:detect_leaks=1
export LSAN_OPTIONS=suppressions=$here/leaks:print_suppressions=0:exitcode=99
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1:exitcode=99
printf 'leak:libndpi\n' > "$here/leaks"
export probe here

one() {
    code=0
    "$probe" -i "$1" --json /dev/null 2> "$here/$$.err" || code=$?
    if [ "$code" -gt 1 ] || grep -q "Sanitizer\|runtime error" "$here/$$.err"; then
        echo "FAIL $1: exit $code"
        grep -m 20 "ERROR\|runtime error\|    #" "$here/$$.err" || head -5 "$here/$$.err"
    else
        echo ok
    fi
    rm -f "$here/$$.err"
}
export -f one

find "$WEIR_SOURCE/test/golden" "$WEIR_SOURCE/../shared/corpus/packets" \
    "$WEIR_SOURCE/../shared/corpus/malformed" "$WEIR_SOURCE/../shared/corpus/netflow9" \
    -type f \( -name '*.pcap' -o -name '*.pcapng' -o -name '*.cap' \) -print0 2> /dev/null > "$here/list" || true
if [ "${WEIR_CORPUS:-}" != all ]; then
    python3 -c '
import os, sys, zlib
for path in sys.stdin.buffer.read().split(b"\0")[:-1]:
    if b"/corpus/packets/" not in path or zlib.crc32(os.path.basename(path)) % 4 == 1:
        sys.stdout.buffer.write(path + b"\0")' < "$here/list" > "$here/some"
    mv "$here/some" "$here/list"
fi
xargs -0 -n 1 -P "$(nproc)" bash -c 'one "$1"' _ < "$here/list" > "$here/out"

grep -v '^ok$' "$here/out" || true
good=$(grep -c '^ok$' "$here/out" || true)
bad=$(grep -c '^FAIL' "$here/out" || true)
echo "$good captures clean, $bad not"
[ "$bad" = 0 ] && [ "$good" -gt 0 ]
