#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# time limit: 600 s
"""Every golden capture through weir-probe and through tshark: conversations must agree exactly.

A conversation is (VLAN, addresses, ports, protocol); compared are packets, frame bytes and IP bytes
of each direction. Captures are test/golden and, where they are there, those of
../shared/corpus/packets: of these one in four (which, depends on the name alone), all of them with
WEIR_CORPUS=all, as `make corpus` has it. tshark dissects tunnels and weir does not yet, so of each frame the
outermost IP header counts; what stands behind it is read off tshark's list of protocols.

Beside it, on each capture: received = ignored + metered, and metered = exported, by --counters.
"""
import collections
import concurrent.futures
import glob
import json
import os
import subprocess
import sys
import zlib

BUILD = os.environ.get("WEIR_BUILD", "build")
SOURCE = os.environ.get("WEIR_SOURCE", ".")
CORPUS = os.path.join(SOURCE, "..", "shared", "corpus", "packets")

# Captures that weir-probe refuses, or reads only the beginning of, and what it must say. Nothing
# else may be refused. libpcap, which reads them, does not take interfaces of different kinds in one
# pcapng; their comparison is left out.
REFUSED = {
    "gopacket/be_test005.pcapng": "an interface has a snapshot length",
    "gopacket/be_test100.pcapng": "an interface has a type",
    "gopacket/be_test102.pcapng": "an interface has a type",
    "gopacket/le_test004.pcapng": "an interface has a snapshot length",
    "gopacket/le_test100.pcapng": "an interface has a type",
    "gopacket/le_test101.pcapng": "an interface has a type",
    "gopacket/le_test201.pcapng": "an interface has a type",
    "gopacket/le_test901.pcapng": "unknown pcapng savefile major version number 2",
    "nDPI/someip_sd_sample.pcap": "link type 192",
    "zeek/wlanmon.pcap": "link type 105",
}
# Captures that end in the middle of a packet: what comes before is metered and compared.
TRUNCATED = {"nDPI/fuzz-2021-10-13.pcap"}

# Captures of PPP with its protocol compressed to one byte, which tshark's fields do not tell.
PPP_COMPRESSED = {"suricata-verify/defrag__bug-6887-defrag-ppp-ipv6-tcp__frag-ppp-ipv6-tcp.pcap"}

# protocols of tshark below IP that weir dissects, with the bytes of their header
LINK = {"eth": 14, "ethertype": 0, "vlan": 4, "ieee8021ad": 4, "llc": 8, "sll": 16, "sll2": 20,
        "null": 4, "raw": 0, "ppp": 0}
IPV6_EXTENSIONS = ("ipv6.hopopts", "ipv6.routing", "ipv6.dstopts", "ipv6.fraghdr", "ah", "mipv6",
                   "ipv6.shim6", "hip")
TRANSPORT = {"tcp": 6, "udp": 17, "udplite": 136, "sctp": 132, "dccp": 33, "icmp": 1, "icmpv6": 58}
FIELDS = ["frame.number", "frame.len", "frame.cap_len", "frame.protocols", "vlan.id",
          "ieee8021ad.id", "ip.src", "ip.dst", "ip.proto", "ip.len", "ip.id", "ip.flags.mf",
          "ip.frag_offset", "ipv6.src", "ipv6.dst", "ipv6.nxt", "ipv6.plen", "ipv6.hopopts.nxt",
          "ipv6.routing.nxt", "ipv6.dstopts.nxt", "ipv6.fraghdr.nxt", "ipv6.fraghdr.ident",
          "ipv6.fraghdr.offset", "ipv6.fraghdr.more", "ah.next_header", "tcp.srcport",
          "tcp.dstport", "udp.srcport", "udp.dstport", "sctp.srcport", "sctp.dstport",
          "dccp.srcport", "dccp.dstport", "ppp.address"]
NEXT = {"ipv6.hopopts": "ipv6.hopopts.nxt", "ipv6.routing": "ipv6.routing.nxt",
        "ipv6.dstopts": "ipv6.dstopts.nxt", "ipv6.fraghdr": "ipv6.fraghdr.nxt",
        "ah": "ah.next_header"}


def number(text):
    return int(text, 16) if text.startswith("0x") else int(text)


def truth(value):
    return value in ("1", "True")


class Frame:
    """One frame as tshark sees it, its outermost IP header only."""

    def __init__(self, row, ppp_bytes):
        self.ppp_bytes = ppp_bytes
        self.row = {name: value.split(",") if value else [] for name, value in zip(FIELDS, row)}
        self.length = int(row[1])
        self.captured = int(row[2])
        self.protocols = row[3].split(":")

    def first(self, name, default=""):
        values = self.row[name]
        return values[0] if values else default

    def vlan(self, below):
        """The outermost id that is not 0."""
        tags = {"vlan": iter(self.row["vlan.id"]), "ieee8021ad": iter(self.row["ieee8021ad.id"])}
        for name in below:
            if name in tags:
                found = number(next(tags[name], "0"))
                if found:
                    return found
        return 0

    def link_bytes(self, below):
        size = sum(LINK[name] for name in below)
        if "ppp" in below:  # the protocol, and as in HDLC an address and a control byte
            size += self.ppp_bytes + (2 if self.row["ppp.address"] else 0)
        return size

    def metered(self):
        """(key, ip bytes, src is first) as weir should have it, or None where it must not meter."""
        at = next((i for i, p in enumerate(self.protocols) if p in ("ip", "ipv6")), None)
        if at is None:
            return None
        below = self.protocols[:at]
        if any(name not in LINK for name in below):
            return None
        version = 4 if self.protocols[at] == "ip" else 6
        src, dst = (self.first(f"ip{'v6' if version == 6 else ''}.{end}") for end in ("src", "dst"))
        if not src or not dst:
            return None
        carried = max(self.length, self.captured) - self.link_bytes(below)
        if version == 4:
            claimed = int(self.first("ip.len", "0"))
            ip_bytes = claimed or carried
            if not self.row["ip.proto"]:
                return None
            protocol = int(self.first("ip.proto"))
        else:
            protocol = int(self.first("ipv6.nxt"))
            plen = int(self.first("ipv6.plen", "0"))
            ip_bytes = plen + 40 if plen or protocol == 59 else carried
        ip_bytes = min(ip_bytes, carried)
        at += 1
        taken = collections.Counter()
        while at < len(self.protocols) and self.protocols[at] in NEXT:
            name = self.protocols[at]
            if version == 4 and name != "ah":
                break
            values = self.row[NEXT[name]]
            if taken[name] >= len(values):
                break
            protocol = number(values[taken[name]])
            taken[name] += 1
            at += 1
        fragmented = taken["ipv6.fraghdr"] > 0
        behind = self.protocols[at] if at < len(self.protocols) else ""
        ports = (0, 0)
        if TRANSPORT.get(behind) == protocol and behind in ("tcp", "udp", "udplite", "sctp",
                                                            "dccp"):
            name = "udp" if behind == "udplite" else behind
            if self.row[name + ".srcport"] and self.row[name + ".dstport"]:
                ports = tuple(int(self.row[f"{name}.{end}port"][0]) for end in ("src", "dst"))
        return self.vlan(below), version, src, dst, protocol, ports, ip_bytes, fragmented


class Fragments:
    """Ports of later fragments from the first one of the same datagram, in order of arrival."""

    def __init__(self):
        self.known = {}

    def resolve(self, frame, vlan, version, src, dst, protocol, ports, fragmented):
        if version == 4:
            offset = int(frame.first("ip.frag_offset", "0"))
            more = truth(frame.first("ip.flags.mf", "0"))
            key = (vlan, src, dst, number(frame.first("ip.id", "0")), int(frame.first("ip.proto")))
        elif fragmented:
            offset = int(frame.first("ipv6.fraghdr.offset", "0"))
            more = truth(frame.first("ipv6.fraghdr.more", "0"))
            key = (vlan, src, dst, number(frame.first("ipv6.fraghdr.ident")), 6)
        else:
            return protocol, ports
        if offset:
            return self.known.get(key, (protocol, (0, 0)))
        if more:
            self.known[key] = protocol, ports
        return protocol, ports


def by_tshark(path):
    run = subprocess.run(
        ["tshark", "-n", "-r", path, "-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE",
         "-o", "tcp.desegment_tcp_streams:FALSE", "-T", "fields", "-E", "separator=|", "-E",
         "occurrence=a"] + [a for f in FIELDS for a in ("-e", f)],
        capture_output=True, text=True, errors="replace")
    found = collections.defaultdict(lambda: [0, 0, 0])
    fragments = Fragments()
    ppp_bytes = 1 if os.path.relpath(path, CORPUS) in PPP_COMPRESSED else 2
    frames = 0
    for line in run.stdout.splitlines():
        frame = Frame(line.split("|"), ppp_bytes)
        frames += 1
        seen = frame.metered()
        if not seen:
            continue
        vlan, version, src, dst, protocol, ports, ip_bytes, fragmented = seen
        protocol, ports = fragments.resolve(frame, vlan, version, src, dst, protocol, ports,
                                            fragmented)
        one = found[vlan, src, dst, ports[0], ports[1], protocol]
        one[0] += 1
        one[1] += frame.length
        one[2] += ip_bytes
    return dict(found), frames


def by_weir(path):
    run = subprocess.run([os.path.join(BUILD, "weir-probe"), "-i", path, "--no-dpi", "--json", "-",
                          "--counters", "-"], capture_output=True, text=True)
    found = collections.defaultdict(lambda: [0, 0, 0])
    counters = {}
    for line in run.stdout.splitlines():
        if not line.startswith("{"):
            if not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                counters[name] = int(value)
            continue
        flow = json.loads(line)
        for prefix, ends in (("", ("src", "dst")), ("rev_", ("dst", "src"))):
            if not flow[prefix + "packets"]:
                continue
            a, b = ends
            one = found[flow.get("vlan", 0), flow[a + "_ip"], flow[b + "_ip"],
                        flow[a + "_port"], flow[b + "_port"], flow["protocol"]]
            one[0] += flow[prefix + "packets"]
            one[1] += flow[prefix + "l2_octets"]
            one[2] += flow[prefix + "octets"]
    return dict(found), counters, run


def total(counters, name):
    return sum(v for k, v in counters.items()
               if k.partition("{")[0] == f"weir_probe_{name}_total")


def unbalanced(counters):
    out = []
    for unit in ("packets", "bytes"):
        received, ignored, metered, exported = (
            total(counters, f"{unit}_{what}") for what in ("received", "ignored", "metered",
                                                           "exported"))
        if received != ignored + metered or metered != exported:
            out.append(f"{unit}: received {received}, ignored {ignored}, metered {metered}, "
                       f"exported {exported} do not balance")
    return out


def compare(path):
    """(what is wrong with this capture, as lines; a note; how many conversations)"""
    name = os.path.relpath(path, CORPUS)
    weir, counters, run = by_weir(path)
    said = run.stderr.strip()
    if name in REFUSED:
        if run.returncode != 1 or REFUSED[name] not in said:
            return [f"should be refused: {REFUSED[name]}; exit {run.returncode}, {said}"], None, 0
        return unbalanced(counters), f"not compared: {REFUSED[name]}", 0
    if run.returncode != (1 if name in TRUNCATED else 0):
        return [f"exit {run.returncode}: {said}"], None, 0
    tshark, frames = by_tshark(path)
    wrong = unbalanced(counters)
    if total(counters, "packets_received") != frames:
        wrong.append(f"{total(counters, 'packets_received')} packets received, tshark has {frames}")
    for key in sorted(set(weir) | set(tshark), key=str):
        if weir.get(key) != tshark.get(key):
            wrong.append(f"{key}: weir {weir.get(key)}, tshark {tshark.get(key)} "
                         "[packets, frame bytes, IP bytes]")
    return wrong, None, len(tshark)


def main():
    names = sys.argv[1:]
    paths = sorted(glob.glob(os.path.join(SOURCE, "test/golden/*.pcap*")))
    corpus = sorted(p for p in glob.glob(os.path.join(CORPUS, "**"), recursive=True)
                    if os.path.isfile(p) and p.endswith((".pcap", ".pcapng", ".cap", ".trace")))
    if os.environ.get("WEIR_CORPUS") != "all" and not names:
        corpus = [p for p in corpus if zlib.crc32(os.path.basename(p).encode()) % 4 == 0]
    if not corpus:
        print("no corpus beside the repository: own captures only")
    paths = [p for p in paths + corpus if not names or any(n in p for n in names)]
    failed = conversations = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, (wrong, note, n) in zip(paths, pool.map(compare, paths)):
            conversations += n
            name = os.path.relpath(path, SOURCE)
            if note:
                print(f"note  {name}: {note}")
            if wrong:
                failed += 1
                print(f"FAIL  {name}")
                for line in wrong[:12]:
                    print(f"      {line}")
    print(f"{len(paths)} captures, {conversations} conversations, {failed} captures differ")
    return 1 if failed or not conversations else 0


if __name__ == "__main__":
    sys.exit(main())
