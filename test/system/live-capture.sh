#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Live capture in network namespaces of its own: what tcpreplay sends into one end of a veth pair,
# weir-probe meters at the other. Every flow must be the same as when the file is read, VLAN tags
# included, which the kernel takes out of the frames before the ring sees them.
set -euo pipefail

probe=$WEIR_BUILD/weir-probe
golden=$WEIR_SOURCE/test/golden
here=$(mktemp -d)
send=weir-s-$$
take=weir-t-$$
pid=

cleanup() {
    [ -z "$pid" ] || kill "$pid" 2>/dev/null || true
    ip netns del "$send" 2>/dev/null || true
    ip netns del "$take" 2>/dev/null || true
    rm -rf "$here"
}
trap cleanup EXIT

fail() {
    echo "FAIL: $*"
    [ ! -s "$here/log" ] || cat "$here/log"
    exit 1
}

ip netns add "$send"
ip netns add "$take"
for ns in "$send" "$take"; do # no router solicitations among the packets
    ip netns exec "$ns" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 \
        net.ipv6.conf.default.disable_ipv6=1
done
ip -n "$send" link add v0 type veth peer name v1 netns "$take"
ip -n "$send" link set v0 mtu 9000 up
ip -n "$take" link set v1 mtu 9000 up
ip -n "$take" link set lo up

start() { # arguments of the probe
    : > "$here/log"
    ip netns exec "$take" "$probe" -i v1 --json "$here/live" --counters "$here/counters" \
        -b 1 "$@" 2> "$here/log" &
    pid=$!
    for _ in $(seq 100); do
        # the ring is there when the kernel lists the socket
        if ip netns exec "$take" grep -q " 0003 " /proc/net/packet 2>/dev/null; then
            sleep 0.1
            return 0
        fi
        kill -0 "$pid" 2>/dev/null || fail "the probe did not start"
        sleep 0.05
    done
    fail "no packet socket"
}

stop() {
    kill -TERM "$pid"
    wait "$pid" || fail "exit $? after SIGTERM"
    pid=
}

replay() {
    ip netns exec "$send" tcpreplay -q -i v0 --pps 2000 "$1" > /dev/null 2>&1 || fail "tcpreplay $1"
    sleep 0.4 # a block that is not full is handed over after 60 ms
}

# flows without what depends on the time: one line each, sorted
flows() {
    python3 -c '
import json, sys
names = ("vlan src_ip src_port dst_ip dst_port protocol packets rev_packets octets rev_octets "
         "l2_octets rev_l2_octets tcp_flags rev_tcp_flags app_name server_name").split()
print("\n".join(sorted(" ".join(f"{n}={f.get(n)}" for n in names)
                       for f in map(json.loads, open(sys.argv[1])))))' "$1"
}

same() { # capture, what is compared
    "$probe" -i "$1" --json "$here/file" -t 600
    flows "$here/file" > "$here/file.txt"
    flows "$here/live" > "$here/live.txt"
    diff "$here/file.txt" "$here/live.txt" || fail "$2: live (>) and file (<) differ"
    echo "ok: $2, $(wc -l < "$here/live.txt") flows"
}

for name in vlan tcp udp sctp fragments; do
    start -t 600
    replay "$golden/$name.pcap"
    stop
    same "$golden/$name.pcap" "$name"
done

# a filter on a tag that is no longer in the frame
start -f 'vlan 10 and udp' -t 600
replay "$golden/vlan.pcap"
stop
[ "$(flows "$here/live" | grep -c '^vlan=10 ')" = 2 ] || fail "-f 'vlan 10 and udp' found others"
[ "$(flows "$here/live" | grep -vc '^vlan=10 ')" = 0 ] || fail "-f 'vlan 10 and udp' let others in"
echo "ok: filter on a stripped tag"

# a quiet link: flows end by the clock on the wall
start -d 1
replay "$golden/udp.pcap"
for _ in $(seq 40); do
    [ "$(wc -l < "$here/live")" -ge 7 ] && break
    sleep 0.1
done
[ "$(wc -l < "$here/live")" -ge 7 ] || fail "idle flows do not end on a quiet link"
grep -q '"end_reason":1' "$here/live" || fail "no idle end"
stop
echo "ok: idle timeout without packets"

# the loopback interface shows each packet once
start_lo() {
    ip netns exec "$take" "$probe" -i lo --json "$here/live" --counters "$here/counters" \
        2> "$here/log" &
    pid=$!
    sleep 1
}
start_lo
ip netns exec "$take" ping -q -c 3 -i 0.2 127.0.0.1 > /dev/null
sleep 0.4
stop
flows "$here/live" | grep -q 'protocol=1 packets=3 rev_packets=\|protocol=1 packets=6 rev_packets=0' ||
    fail "lo: $(flows "$here/live")"
echo "ok: loopback once"

# the interface goes down and comes up, then goes away and comes back: said, and captured again
start -d 15
replay "$golden/udp.pcap"
ip -n "$take" link set v1 down
said() { # what, how often
    for _ in $(seq 80); do
        [ "$(grep -c "$1" "$here/log")" -ge "$2" ] && return 0
        sleep 0.1
    done
    fail "not said $2 times: $1"
}
said 'the interface is down' 1
ip -n "$take" link set v1 up
said 'the interface is up' 1
ip -n "$take" link del v1
said 'the interface is gone' 1
ip -n "$send" link add v0 type veth peer name v1 netns "$take"
ip -n "$send" link set v0 mtu 9000 up
ip -n "$take" link set v1 mtu 9000 up
said 'the interface is up' 2
sleep 0.5
replay "$golden/tcp.pcap"
stop
"$probe" -i "$golden/tcp.pcap" --json "$here/file" -t 600
[ "$(flows "$here/live" | wc -l)" = $((7 + $(wc -l < "$here/file"))) ] ||
    fail "flows after the interface came back: $(wc -l < "$here/live")"
echo "ok: interface down, up, gone and back"

grep -q '^weir_probe_packets_dropped_total{reason="kernel"} 0$' "$here/counters" || fail "drops"
