#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The browser application in a real browser, against the real hub and a real probe, in a network
# namespace of its own: what is on its loopback is what the test put there.
# time limit: 1200 s
set -euo pipefail
source=$(cd "$(dirname "$0")/../.." && pwd)
export WEIR_BUILD=${WEIR_BUILD:-$source/build}
cd "$source"
scripts/build-web
# one after the other: each counts what is on its loopback
for each in test/browser/*.test.mjs; do
    unshare --net -- bash -c 'ip link set lo up && exec node "$1"' bash "$each"
done
