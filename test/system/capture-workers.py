#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# time limit: 240 s
"""Packets shared out among workers, and interfaces that are one network: what tells flows is the
same as when one reads it all from a file. In namespaces of its own."""
import json
import os
import random
import re
import socket
import struct
import subprocess
import sys
import time

from _e2e import PROBE, SLOW, check, in_namespace, main, same, wait_for

NAMES = ("src_ip", "dst_ip", "src_port", "dst_port", "protocol", "vlan", "inner_vlan", "packets",
         "rev_packets", "octets", "rev_octets", "tunnel_type", "tunnel_id")


# --- frames -------------------------------------------------------------------------------------

def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xffff) + (total >> 16)
    return ~(total + (total >> 16)) & 0xffff


def ipv4(src, dst, protocol, payload, ident=0, fragment=0):
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), ident, fragment, 64, protocol, 0,
                       socket.inet_aton(src), socket.inet_aton(dst))
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def ipv6(src, dst, protocol, payload):
    return struct.pack("!IHBB16s16s", 6 << 28, len(payload), protocol, 64,
                       socket.inet_pton(socket.AF_INET6, src),
                       socket.inet_pton(socket.AF_INET6, dst)) + payload


def udp(sport, dport, payload):
    return struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload


def tcp(sport, dport, flags, seq=1):
    return struct.pack("!HHIIBBHHH", sport, dport, seq, 1, 0x50, flags, 8192, 0, 0)


def ethernet(kind, payload, *tags):
    between = b"".join(struct.pack("!HH", tpid, vid) for tpid, vid in tags)
    return bytes(6) + b"\2\0\0\0\0\1" + between + struct.pack("!H", kind) + payload


def vxlan(vni, inner):
    return struct.pack("!II", 8 << 24, vni << 8) + inner


def mpls(label, inner):
    return struct.pack("!I", label << 12 | 1 << 8 | 64) + inner


def pppoe(protocol, inner):
    return struct.pack("!BBHHH", 0x11, 0, 7, 2 + len(inner), protocol) + inner


def conversation(i, rng):
    """Frames of one flow, each with the side that it comes from."""
    a, b = f"10.{i % 7}.{i // 250}.{1 + i % 250}", f"172.16.{i % 200}.{1 + i // 200}"
    a6, b6 = f"fd00::{i:x}:1", f"fd01::{i:x}:2"
    port = 1024 + i
    kind = i % 9
    if kind == 0:  # a handshake, data, and an end
        return [(0, ethernet(0x800, ipv4(a, b, 6, tcp(port, 443, 2)))),
                (1, ethernet(0x800, ipv4(b, a, 6, tcp(443, port, 18)))),
                (0, ethernet(0x800, ipv4(a, b, 6, tcp(port, 443, 16))))]
    if kind == 1:
        return [(0, ethernet(0x86dd, ipv6(a6, b6, 17, udp(port, 53, b"q" * 30)))),
                (1, ethernet(0x86dd, ipv6(b6, a6, 17, udp(53, port, b"a" * 90))))]
    if kind == 2:  # whole datagrams and ones in fragments: without ports a hash would part them
        whole = udp(port, 2049, rng.randbytes(2992))
        return [(0, ethernet(0x800, ipv4(a, b, 17, udp(port, 2049, b"x" * 40)))),
                (0, ethernet(0x800, ipv4(a, b, 17, whole[1480:], i, 185))),
                (0, ethernet(0x800, ipv4(a, b, 17, whole[:1480], i, 0x2000))),
                (1, ethernet(0x800, ipv4(b, a, 17, udp(2049, port, b"y" * 40))))]
    if kind == 3:
        return [(0, ethernet(0x800, ipv4(a, b, 17, udp(port, 123, b"t" * 48)), (0x8100, 10))),
                (1, ethernet(0x800, ipv4(b, a, 17, udp(123, port, b"t" * 48)), (0x8100, 10)))]
    if kind == 4:
        tags = (0x88a8, 20), (0x8100, 30)
        return [(0, ethernet(0x86dd, ipv6(a6, b6, 6, tcp(port, 80, 2)), *tags)),
                (1, ethernet(0x86dd, ipv6(b6, a6, 6, tcp(80, port, 18)), *tags))]
    if kind == 5:  # the ends of a tunnel choose source ports of their own
        there = ethernet(0x800, ipv4("192.0.2.1", f"198.51.100.{1 + i % 200}", 17,
                                     udp(port, 5000, b"in")))
        back = ethernet(0x800, ipv4(f"198.51.100.{1 + i % 200}", "192.0.2.1", 17,
                                    udp(5000, port, b"out")))
        return [(0, ethernet(0x800, ipv4(a, b, 17, udp(49152 + i, 4789, vxlan(i, there))))),
                (1, ethernet(0x800, ipv4(b, a, 17, udp(59000 - i, 4789, vxlan(i, back)))))]
    if kind == 6:
        return [(0, ethernet(0x8847, mpls(100 + i, ipv4(a, b, 17, udp(port, 161, b"m" * 20))))),
                (1, ethernet(0x8847, mpls(900 + i, ipv4(b, a, 17, udp(161, port, b"m" * 20)))))]
    if kind == 7:
        return [(0, ethernet(0x8864, pppoe(0x21, ipv4(a, b, 6, tcp(port, 22, 2))))),
                (1, ethernet(0x8864, pppoe(0x21, ipv4(b, a, 6, tcp(22, port, 18)))))]
    return [(0, ethernet(0x800, ipv4(a, b, 1, struct.pack("!BBHHH", 8, 0, 0, i, 1)))),
            (1, ethernet(0x800, ipv4(b, a, 1, struct.pack("!BBHHH", 0, 0, 0, i, 1))))]


def traffic(n=900, rounds=3, seed=7):
    rng = random.Random(seed)
    frames = []
    for _ in range(rounds):
        conversations = [conversation(i, rng) for i in range(n)]
        for step in range(max(map(len, conversations))):
            frames += [c[step] for c in conversations if step < len(c)]
    return frames


def write_pcap(path, frames):
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHIIII", 0xa1b2c3d4, 2, 4, 0, 0, 262144, 1))
        for i, (_, frame) in enumerate(frames):
            file.write(struct.pack("<IIII", 1700000000 + i // 100000, i % 100000 * 10, len(frame),
                                   len(frame)) + frame)


# run in the sender's namespace: frames of standard input, a side and a length before each
SENDER = """
import socket, struct, sys, time
wires = []
for name in sys.argv[1:]:
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    wire.bind((name, 0))
    wires.append(wire)
data = sys.stdin.buffer.read()
at = n = 0
while at < len(data):
    side, size = struct.unpack_from("!BH", data, at)
    wires[side % len(wires)].send(data[at + 3:at + 3 + size])
    at += 3 + size
    n += 1
    if n % 64 == 0:
        time.sleep(0.002)
"""


def send(namespace, frames, *wires):
    data = b"".join(struct.pack("!BH", side, len(frame)) + frame for side, frame in frames)
    subprocess.run(in_namespace(namespace, [sys.executable, "-c", SENDER, *wires]), input=data,
                   check=True, timeout=60)


# --- the bench ----------------------------------------------------------------------------------

def site(lab, wires=1):
    """Two namespaces with so many cables, w0 and so on at the sender's, t0 and so on at the other's."""
    sender, taker = lab.namespace(), lab.namespace()
    for i in range(wires):
        lab.cable((sender, f"w{i}", None), (taker, f"t{i}", None))
        for namespace, name in ((sender, f"w{i}"), (taker, f"t{i}")):
            subprocess.run(["ip", "-n", namespace, "link", "set", name, "mtu", "9000"], check=True)
    return sender, taker


class Live:
    def __init__(self, lab, namespace, *options):
        self.out, self.counters = lab.path("live.json"), lab.path("counters")
        self.probe = lab.probe("--json", self.out, "--counters", self.counters, "-t", "600", "-d", "300",
                               "--no-dpi", "-b", "1", *options, namespace=namespace)
        sockets = lambda: subprocess.run(in_namespace(namespace, ["cat", "/proc/net/packet"]),
                                         capture_output=True, text=True).stdout.count(" 0003 ")
        workers = int(options[options.index("--workers") + 1]) if "--workers" in options else 1
        inputs = options[options.index("-i") + 1].count(",") + 1
        wait_for("the rings are there", lambda: sockets() == workers * inputs)
        time.sleep(0.3 if SLOW == 1 else 2)  # and all workers at work

    def flows(self):
        time.sleep(0.5)  # a block that is not full is handed over a little later
        same(self.probe.stop(), 0, "the probe ends with")
        with open(self.out) as file:
            return [json.loads(line) for line in file]

    def counter(self, name):
        with open(self.counters) as file:
            found = re.findall(rf"^{re.escape(name)} (\d+)$", file.read(), re.M)
        check(found, f"no counter {name}")
        return int(found[0])


def from_file(lab, frames, *options):
    path, out = lab.path("truth.pcap"), lab.path("truth.json")
    write_pcap(path, frames)
    run = subprocess.run([PROBE, "-i", path, "--json", out, "-t", "600", "-d", "300", "--no-dpi",
                          *options], capture_output=True, text=True)
    same(run.returncode, 0, f"the file's reader ends with ({run.stderr})")
    with open(out) as file:
        return [json.loads(line) for line in file]


def told(flows):
    return sorted(tuple(str(flow.get(name, "")) for name in NAMES) for flow in flows)


def same_flows(got, expected, what):
    got, expected = told(got), told(expected)
    if got != expected:
        more, less = set(got) - set(expected), set(expected) - set(got)
        check(False, f"{what}: {len(got)} flows, expected {len(expected)}; only live {sorted(more)[:4]}; "
                     f"only in the file {sorted(less)[:4]}")


# --- tests --------------------------------------------------------------------------------------

def test_workers(lab):
    """Both directions, fragments, tags and tunnels meet in one worker."""
    sender, taker = site(lab)
    frames = traffic()
    expected = from_file(lab, frames)
    for workers in ("2", "3", "5"):
        live = Live(lab, taker, "-i", "t0", "--workers", workers)
        send(sender, frames, "w0")
        flows = live.flows()
        same_flows(flows, expected, f"{workers} workers")
        same(live.counter('weir_probe_packets_received_total'), len(frames), "packets")
        same(live.counter('weir_probe_interface_packets_total{interface="t0"}'), len(frames), "packets of t0")
        ids = [flow["flow_id"] for flow in flows]
        same(len(set(ids)), len(ids), "flow ids")
        # they count in stretches of their own: who had how many
        parts = {}
        for one in ids:
            parts[one >> 32] = parts.get(one >> 32, 0) + 1
        same(len(parts), int(workers), "workers that had flows")
        check(min(parts.values()) > len(ids) / int(workers) / 3, f"shared out as {parts}")


def test_two_arms(lab):
    """A TAP's two arms: each direction by an interface of its own, and one flow."""
    sender, taker = site(lab, 2)
    frames = traffic()
    expected = from_file(lab, frames)
    for workers in ("1", "2"):
        live = Live(lab, taker, "-i", "t0,t1", "--workers", workers)
        send(sender, frames, "w0", "w1")
        flows = live.flows()
        same_flows(flows, expected, f"two interfaces, {workers} workers")
        indexes = {(flow["input_if"], flow.get("output_if")) for flow in flows}
        check(len(indexes) == 1, f"interfaces of flows: {indexes}")
        (there, back), = indexes
        check(there != back and back, f"interfaces of flows: {indexes}")
        same(live.counter('weir_probe_interface_packets_total{interface="t0"}') +
             live.counter('weir_probe_interface_packets_total{interface="t1"}'), len(frames), "packets")


def test_mirror(lab):
    """A port that copies both ways gives packets twice: once without, each flow as it is."""
    sender, taker = site(lab)
    frames = traffic(450, 1)
    twice = [one for frame in frames for one in (frame, frame)]
    expected = from_file(lab, frames)
    live = Live(lab, taker, "-i", "t0", "--workers", "2", "--deduplication")
    send(sender, twice, "w0")
    same_flows(live.flows(), expected, "without duplicates")
    same(live.counter('weir_probe_packets_skipped_total{reason="duplicate"}'), len(frames), "left out")
    same(live.counter('weir_probe_packets_received_total'), 2 * len(frames), "received")
    live = Live(lab, taker, "-i", "t0")
    send(sender, twice, "w0")
    flows = live.flows()
    same(sum(f["packets"] + f["rev_packets"] for f in flows),
         2 * sum(f["packets"] + f["rev_packets"] for f in expected), "packets with duplicates")


def test_down_and_gone(lab):
    """Workers go on when an interface comes back, in their order."""
    sender, taker = site(lab)
    frames = traffic(450, 1)
    live = Live(lab, taker, "-i", "t0", "--workers", "3")
    for _ in range(2):
        subprocess.run(["ip", "-n", taker, "link", "set", "t0", "down"], check=True)
        time.sleep(0.2)
        subprocess.run(["ip", "-n", taker, "link", "set", "t0", "up"], check=True)
    time.sleep(0.5)
    send(sender, frames, "w0")
    time.sleep(0.5)
    subprocess.run(["ip", "-n", taker, "link", "del", "t0"], check=True)
    wait_for("it is told", lambda: "the interface is gone" in live.probe.log())
    lab.cable((sender, "w0", None), (taker, "t0", None))
    for namespace, name in ((sender, "w0"), (taker, "t0")):
        subprocess.run(["ip", "-n", namespace, "link", "set", name, "mtu", "9000"], check=True)
    wait_for("it is back", lambda: live.probe.log().count("the interface is up") >= 1 and
             subprocess.run(in_namespace(taker, ["cat", "/proc/net/packet"]), capture_output=True,
                            text=True).stdout.count(" 0003 ") == 3)
    time.sleep(1)
    send(sender, frames, "w0")
    same_flows(live.flows(), from_file(lab, frames + frames), "before and after")


def test_refused(lab):
    def refused(*options):
        run = subprocess.run([PROBE, *options, "--json", "-"], capture_output=True, text=True)
        same(run.returncode, 2, f"{options}: exit code ({run.stderr})")
        return run.stderr
    path = lab.path("one.pcap")
    write_pcap(path, traffic(9, 1))
    check("a file is read by one" in refused("-i", path, "--workers", "2"), "file and workers")
    check("is no interface, and others" in refused("-i", "lo", "-i", path), "interface and file")
    check("is no sampling" in refused("-i", path, "-S", "1:0"), "sampling")


def test_files(lab):
    """Files one after the other, by -i and by a list."""
    frames = traffic(300, 3)
    third = len(frames) // 3
    names = []
    for i in range(3):
        names.append(lab.path(f"part{i}.pcap"))
        write_pcap(names[-1], frames[i * third:(i + 1) * third if i < 2 else None])
    expected = from_file(lab, frames)
    listed = lab.path("list")
    with open(listed, "w") as file:
        file.write("# three\n\n" + "\n".join([names[0], os.path.basename(names[1]), f" {names[2]} "]))
    for options in (["-i", names[0], "-i", names[1], "-i", names[2]], ["--pcap-file-list", listed]):
        out = lab.path("files.json")
        subprocess.run([PROBE, *options, "--json", out, "-t", "600", "-d", "300", "--no-dpi"], check=True)
        with open(out) as file:
            same_flows([json.loads(line) for line in file], expected, options[0])


main([test_workers, test_two_arms, test_mirror, test_down_and_gone, test_refused, test_files])
