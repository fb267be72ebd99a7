#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What `make install` lays down works from there: programs find their library, the samples are
# accepted, pages and units are in place.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
DESTDIR=$folder/root meson install -C "$WEIR_BUILD" --no-rebuild --quiet
hub=$(find "$folder/root" -path '*/bin/weir-hub')
prefix=${hub%/bin/weir-hub}

fail() {
    echo "$1" >&2
    exit 1
}
for file in bin/weir-hub bin/weir-probe lib/weir/libduckdb.so share/man/man8/weir-hub.8 \
    share/man/man8/weir-probe.8 share/weir/web/index.html lib/systemd/system/weir-hub.service \
    lib/systemd/system/weir-probe.service lib/systemd/system/weir-probe@.service; do
    [ -s "$prefix/$file" ] || fail "$file was not installed"
done

ldd "$hub" | grep -q "$prefix/lib/weir/libduckdb.so\|$prefix/bin/../lib/weir/libduckdb.so" ||
    fail "the installed hub does not take the installed libduckdb.so: $(ldd "$hub")"
if ldd "$prefix/bin/weir-probe" | grep -q 'duckdb\|microhttpd'; then
    fail "a probe links a store or a web server"
fi
for program in weir-hub weir-probe; do
    "$prefix/bin/$program" --version | grep -q "^$program $(cat "$WEIR_SOURCE/VERSION")$" ||
        fail "$program --version"
done
"$hub" "$folder/root/etc/weir/hub.conf.sample" --print-public-key -d "$folder/hub" |
    grep -q '^[0-9A-Fa-f]\{80\}$' || fail "hub.conf.sample is not accepted"

# as it is the probe's sample has KEY for a key, and that is what must be said
out=$("$prefix/bin/weir-probe" "$folder/root/etc/weir/probe.conf.sample" \
    --data-dir "$folder/probe" 2>&1) && fail "a probe ran without a key: $out"
grep -q 'encryption key has 3 characters' <<<"$out" || fail "probe.conf.sample: $out"

# the paths in the units are those installed
destination=${prefix#"$folder/root"}
grep -q "^ExecStart=$destination/bin/weir-hub /etc/weir/hub.conf$" \
    "$prefix/lib/systemd/system/weir-hub.service" || fail "weir-hub.service starts something else"
echo "all of it in $destination"
