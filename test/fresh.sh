#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# fresh.sh [build|check|run]…: proves the README on a minimal Debian 12 in a temporary folder: a
# clone of what is committed here, then `make check` and `make run` as a new user would type them.
#
# Needs root. WEIR_MIRROR replaces the Debian mirror, WEIR_FRESH_KEEP=1 leaves the folder behind.
# All mounts are made in a mount namespace of its own and all processes live in a process
# namespace, so nothing of either is left when this script ends, however it ends.
set -euo pipefail
source=$(cd "$(dirname "$0")/.." && pwd)

fail() {
    echo "fresh: $1" >&2
    exit 1
}

# The host's own Debian mirror, from either format of its sources.
host_mirror() { # host_mirror SUITE
    local uri
    uri=$(awk -v suite="$1" '
        /^URIs:/ { uri = $2 }
        /^Suites:/ { for (i = 2; i <= NF; i++) if ($i == suite) { print uri; exit } }
        $1 == "deb" { for (i = 2; i < NF; i++) if ($(i + 1) == suite) { print $i; exit } }
    ' /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null || true)
    echo "${uri:-$2}"
}

prepare() { # the folder with Debian in it
    local mirror=${WEIR_MIRROR:-$(host_mirror bookworm http://deb.debian.org/debian)}
    local security
    security=$(host_mirror bookworm-security "${mirror%/}-security")
    echo "fresh: debootstrap bookworm into $root"
    debootstrap --variant=minbase --include=ca-certificates bookworm "$root" "$mirror" \
        >"$root.log" 2>&1 || {
        tail -n 15 "$root.log" >&2
        fail "debootstrap failed"
    }
    cat >"$root/etc/apt/sources.list" <<SOURCES
deb $mirror bookworm main
deb $mirror bookworm-updates main
deb $security bookworm-security main
SOURCES
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    cp /etc/hosts "$root/etc/hosts"
    cp -r /usr/local/share/ca-certificates/. "$root/usr/local/share/ca-certificates/"
    git -c safe.directory='*' clone -q --no-hardlinks "file://$source" "$root/root/weir"
}

inside() { # inside COMMAND…: in the new Debian, with nothing of this environment but proxies
    env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        LANG=C.UTF-8 CI=true NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt \
        ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} \
        ${no_proxy:+no_proxy="$no_proxy"} \
        chroot "$root" bash -c "cd /root/weir && $*" </dev/null
}

# `make run` as a new user types it, in this machine's network, for it installs what is missing.
run_and_look() {
    cat >"$root/root/run.sh" <<'RUN'
set -um # job control: Ctrl-C below reaches make and all it started
make run >/root/run.log 2>&1 &
child=$!
link=
while [ -z "$link" ] && kill -0 $child 2>/dev/null; do
    link=$(grep -o 'http://127[^ ]*' /root/run.log | head -n 1)
    sleep 1
done
cat /root/run.log
[ -n "$link" ] || { echo "make run printed no link"; exit 1; }
page=$(curl -sS --fail --max-time 20 "$link") || exit 1
grep -qi '<html' <<<"$page" || { echo "$link gave no page"; exit 1; }
kill -INT -- -$child
wait $child
code=$?
tail -n 2 /root/run.log
for stat in /proc/[0-9]*/stat; do
    grep '(weir-[a-z]*) [^Z]' $stat && { echo "left running"; exit 1; }
done
case $code in
0 | 130) ;; # 130: make itself, interrupted
*) echo "make run ended with $code"; exit 1 ;;
esac
RUN
    inside bash /root/run.sh
}

if [ "${1:-}" = --inside ]; then
    root=$2
    shift 2
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs tmpfs "$root/run"
    inside "update-ca-certificates >/dev/null 2>&1; apt-get update -qq &&
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq git make >/dev/null 2>&1"
    for stage in "$@"; do
        start=$SECONDS
        echo "fresh: $stage"
        case $stage in
        build) inside make build ;;
        check) inside make check ;;
        run) run_and_look ;;
        *) fail "no stage '$stage'; there are build, check and run" ;;
        esac || fail "$stage failed on a fresh Debian 12"
        echo "fresh: $stage took $((SECONDS - start)) s"
    done
    exit
fi

[ "$(id -u)" -eq 0 ] || fail "needs root (debootstrap and chroot): sudo make fresh"
"$source/scripts/install-deps" fresh
root=$(mktemp -d /var/tmp/weir-fresh-XXXXXX)
chmod 755 "$root"
clean() {
    [ "${WEIR_FRESH_KEEP:-}" ] && echo "fresh: left in $root" && return
    rm -rf --one-file-system "$root" "$root.log"
}
trap clean EXIT
[ $# -gt 0 ] || set -- check run
prepare
unshare --mount --propagation private --pid --fork --kill-child \
    bash "$source/test/fresh.sh" --inside "$root" "$@"
echo "fresh: all done"
