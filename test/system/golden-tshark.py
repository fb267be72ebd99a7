#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# time limit: 600 s
"""Every golden capture through weir-probe and through tshark: conversations must agree exactly.

A conversation is (VLANs, addresses, ports, protocol); compared are packets, frame bytes and IP bytes
of each direction, once of the innermost IP packets and once, with --no-tunnel, of the outermost.
Captures are test/golden and, where they are there, those of ../shared/corpus/packets: of these one in
four (which, depends on the name alone), all of them with WEIR_CORPUS=all, as `make corpus` has it.
What is in what is read off tshark's list of protocols.

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
# else may be refused.
REFUSED = {
    "gopacket/le_test901.pcapng": "a version of the format that is not known",
    "nDPI/someip_sd_sample.pcap": "link type 192",
    "zeek/wlanmon.pcap": "link type 105",
}
# Captures that end in the middle of a packet: what comes before is metered and compared.
TRUNCATED = {"nDPI/fuzz-2021-10-13.pcap"}
# Blocks that are no packets (pcapng's custom blocks) and that tshark numbers like packets.
CUSTOM_BLOCKS = {"gopacket/be_test102.pcapng": 3}

# Captures of PPP with its protocol compressed to one byte, which tshark's fields do not tell.
PPP_COMPRESSED = {"corner.pcap",
                  "suricata-verify/defrag__bug-6887-defrag-ppp-ipv6-tcp__frag-ppp-ipv6-tcp.pcap"}

# Captures in which tshark sees something else inside tunnels, and rightly or for a reason; there only
# the outermost packets are compared.
ERSPAN = "the VLAN of a mirrored frame stands in the header of ERSPAN"
INSIDE = {"corner.pcap": "ERSPAN of type II with version 0, which tshark does not know",
          "suricata-verify/decode-erspan-typeII-01__input.pcap": ERSPAN,
          "zeek/erspanII.pcap": ERSPAN}

# protocols of tshark below IP that weir dissects, with the bytes of their header
LINK = {"eth": 14, "ethertype": 0, "vlan": 4, "ieee8021ad": 4, "llc": 8, "sll": 16, "sll2": 20,
        "null": 4, "raw": 0, "ppp": 0, "mpls": 4, "pppoes": 6}
# between an IP header and what a tunnel carries
TUNNEL = {"gre", "erspan", "vxlan", "geneve", "gtp", "l2tp", "teredo", "etherip"}
# tshark only guesses what is behind a label when it is not IP
GUESSED = {"pwethheuristic"}
IPV6_EXTENSIONS = ("ipv6.hopopts", "ipv6.routing", "ipv6.dstopts", "ipv6.fraghdr", "ah", "mipv6",
                   "ipv6.shim6", "hip")
TRANSPORT = {"tcp": 6, "udp": 17, "udplite": 136, "sctp": 132, "dccp": 33, "icmp": 1, "icmpv6": 58}
FIELDS = ["frame.number", "frame.len", "frame.cap_len", "frame.protocols", "vlan.id",
          "ieee8021ad.id", "ip.src", "ip.dst", "ip.proto", "ip.len", "ip.id", "ip.flags.mf",
          "ip.frag_offset", "ipv6.src", "ipv6.dst", "ipv6.nxt", "ipv6.plen", "ipv6.hopopts.nxt",
          "ipv6.routing.nxt", "ipv6.dstopts.nxt", "ipv6.fraghdr.nxt", "ipv6.fraghdr.ident",
          "ipv6.fraghdr.offset", "ipv6.fraghdr.more", "ah.next_header", "tcp.srcport",
          "tcp.dstport", "udp.srcport", "udp.dstport", "sctp.srcport", "sctp.dstport",
          "dccp.srcport", "dccp.dstport", "ppp.address", "mpls.label", "frame.time_epoch"]
NEXT = {"ipv6.hopopts": "ipv6.hopopts.nxt", "ipv6.routing": "ipv6.routing.nxt",
        "ipv6.dstopts": "ipv6.dstopts.nxt", "ipv6.fraghdr": "ipv6.fraghdr.nxt",
        "ah": "ah.next_header"}


def number(text):
    return int(text, 16) if text.startswith("0x") else int(text)


def truth(value):
    return value in ("1", "True")


class Frame:
    """One frame as tshark sees it."""

    def __init__(self, row, ppp_bytes):
        self.ppp_bytes = ppp_bytes
        self.row = {name: value.split(",") if value else [] for name, value in zip(FIELDS, row)}
        self.length = int(row[1])
        self.captured = int(row[2])
        self.protocols = row[3].split(":")
        self.time = float(row[FIELDS.index("frame.time_epoch")] or 0)  # a simple packet block has none
        self.seen = collections.Counter()

    def take(self, field, kind):
        """The field of this occurrence of a protocol, or "" where tshark has none."""
        values = self.row[field]
        at = self.seen[kind]
        return values[at] if at < len(values) else ""

    def link_bytes(self, below):
        size = sum(LINK[name] * (len(self.row["mpls.label"]) if name == "mpls" else 1)
                   for name in below)
        if "ppp" in below:  # the protocol, and as in HDLC an address and a control byte
            size += self.ppp_bytes + (2 if self.row["ppp.address"] else 0)
        return size

    def transport(self, name, protocol):
        if TRANSPORT.get(name) != protocol or name in ("icmp", "icmpv6"):
            return 0, 0
        field = "udp" if name == "udplite" else name
        ports = [self.take(f"{field}.{end}port", field) for end in ("src", "dst")]
        return (int(ports[0]), int(ports[1])) if all(ports) else (0, 0)

    def layer(self, at, vlans, below, outside):
        """The IP header at this place: (layer or None, place behind it and its extensions)."""
        name = self.protocols[at]
        version = 4 if name == "ip" else 6
        src, dst = (self.take(f"{name}.{end}", name) for end in ("src", "dst"))
        kind = self.take("ip.proto" if version == 4 else "ipv6.nxt", name)
        if not src or not dst or not kind:
            return None, at
        protocol = key_protocol = number(kind)
        carried = (outside["bytes"] if outside else
                   max(self.length, self.captured) - self.link_bytes(below))
        if version == 4:
            claimed = int(self.take("ip.len", name) or 0)
            fragment = (number(self.take("ip.id", name) or "0"),
                        int(self.take("ip.frag_offset", name) or 0),
                        truth(self.take("ip.flags.mf", name)))
        else:
            plen = int(self.take("ipv6.plen", name) or 0)
            claimed = plen + 40 if plen or protocol == 59 else 0
            fragment = (0, 0, False)
            key_protocol = 0
        # if it might be longer than what is around it, that depends on headers between
        exact = not outside or 0 < claimed <= carried - outside["header"]
        self.seen[name] += 1
        at += 1
        while at < len(self.protocols) and self.protocols[at] in NEXT:
            name = self.protocols[at]
            if version == 4 and name != "ah":
                break
            value = self.take(NEXT[name], name)
            if not value:
                break
            protocol = number(value)
            if name == "ipv6.fraghdr":
                fragment = (number(self.take("ipv6.fraghdr.ident", name)),
                            int(self.take("ipv6.fraghdr.offset", name) or 0),
                            truth(self.take("ipv6.fraghdr.more", name)))
            self.seen[name] += 1
            at += 1
        behind = self.protocols[at] if at < len(self.protocols) else ""
        ports = self.transport(behind, protocol)
        if behind in TRANSPORT:
            self.seen["udp" if behind == "udplite" else behind] += 1
        tags = ([v for v in vlans if v] + [0, 0])[:2]
        return {"flow": (*tags, src, dst, *ports, protocol), "exact": exact,
                "bytes": min(claimed, carried) if claimed else carried,
                "header": 20 if version == 4 else 40,
                "datagram": (*tags, src, dst, fragment[0], key_protocol, version),
                "offset": fragment[1], "more": fragment[2]}, at

    def layers(self):
        """The IP packets in each other, the outermost first; None: tshark guessed."""
        out = []
        vlans, below = [], []
        at = 0
        while at < len(self.protocols):
            name = self.protocols[at]
            if name in GUESSED:
                return None
            if name in ("ip", "ipv6"):
                layer, at = self.layer(at, vlans, below, out[-1] if out else None)
                if not layer:
                    break
                out.append(layer)
                behind = self.protocols[at:at + 2]
                if behind and behind[0] in ("ip", "ipv6", "gre", "etherip", "mpls"):
                    continue
                if len(behind) == 2 and behind[0] == "udp" and behind[1] in TUNNEL:
                    at += 1
                    continue
                break
            if name not in LINK and not (out and name in TUNNEL):
                break
            if name == "eth":
                vlans = []
            if name in ("vlan", "ieee8021ad"):
                vlans.append(number(self.take(name + ".id", name) or "0"))
                self.seen[name] += 1
            if not out:
                below.append(name)
            at += 1
        return out


class Fragments:
    """What the first fragment of a datagram says, for the others: those after it, and those before
    it that came in the 3 s before."""

    PATIENCE_S = 3

    def __init__(self):
        self.known = {}
        self.waiting = {}

    def late(self, key, now):
        held = self.waiting.get(key)
        return held and held[0][0] + self.PATIENCE_S < now

    def take(self, layers, packet):
        """Give the packet, a list whose head is its flow, the flow that it belongs to."""
        now = packet[-1]
        last = layers[-1]
        if last["offset"]:
            key = last["datagram"]
            if self.late(key, now):
                del self.waiting[key]
            if key in self.waiting or key not in self.known:
                self.waiting.setdefault(key, []).append((now, packet, layers))
                return
            self.settle(layers, packet, self.known[key])
        else:
            self.settle(layers, packet, (last["flow"], len(layers)))

    def settle(self, layers, packet, known):
        flow, depth = known
        packet[0] = flow
        if depth > len(layers):
            packet[3] = None  # the headers of the tunnel are not its
        for layer in reversed(layers):
            if layer["more"] and not layer["offset"]:
                held = self.waiting.pop(layer["datagram"], [])
                if held and held[0][0] + self.PATIENCE_S < packet[-1]:
                    held = []
                self.known[layer["datagram"]] = known
                for _, other, its in held:
                    self.settle(its, other, known)


def conversations(frames, innermost):
    fragments = Fragments()
    packets = []
    for frame, layers in frames:
        layers = layers if innermost else layers[:1]
        if not layers:
            continue
        last = layers[-1]
        # while nothing is known it is what it looks like from outside
        packet = [last["flow"], 1, frame.length, last["bytes"] if last["exact"] else None,
                  frame.time]
        packets.append(packet)
        fragments.take(layers, packet)
    found = {}
    for flow, n, length, ip_bytes, _ in packets:
        one = found.setdefault(flow, [0, 0, 0])
        one[0] += n
        one[1] += length
        one[2] = None if ip_bytes is None or one[2] is None else one[2] + ip_bytes
    return found


def by_tshark(path):
    run = subprocess.run(
        ["tshark", "-n", "-r", path, "-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE",
         "-o", "tcp.desegment_tcp_streams:FALSE", "-d", "udp.port==8472,vxlan", "-T", "fields", "-E",
         "separator=|", "-E", "occurrence=a"] + [a for f in FIELDS for a in ("-e", f)],
        capture_output=True, text=True, errors="replace")
    ppp_bytes = 1 if os.path.relpath(path, CORPUS) in PPP_COMPRESSED else 2
    frames = []
    for line in run.stdout.splitlines():
        frame = Frame(line.split("|"), ppp_bytes)
        frames.append((frame, frame.layers()))
    return frames


def by_weir(path, *options):
    run = subprocess.run([os.path.join(BUILD, "weir-probe"), "-i", path, "--no-dpi", "--json", "-",
                          "--counters", "-", *options], capture_output=True, text=True)
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
            one = found[flow.get("vlan", 0), flow.get("inner_vlan", 0), flow[a + "_ip"], flow[b + "_ip"],
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


def differences(weir, tshark):
    out = []
    for key in sorted(set(weir) | set(tshark), key=str):
        mine, theirs = weir.get(key), tshark.get(key)
        if mine and theirs and theirs[2] is None:
            mine, theirs = mine[:2], theirs[:2]
        if mine != theirs:
            out.append(f"{key}: weir {mine}, tshark {theirs} [packets, frame bytes, IP bytes]")
    return out


def compare(path):
    """(what is wrong with this capture, as lines; a note; how many conversations)"""
    name = os.path.relpath(path, CORPUS)
    inner, counters, run = by_weir(path)
    said = run.stderr.strip()
    if name in REFUSED:
        if run.returncode != 1 or REFUSED[name] not in said:
            return [f"should be refused: {REFUSED[name]}; exit {run.returncode}, {said}"], None, 0
        return unbalanced(counters), f"not compared: {REFUSED[name]}", 0
    if run.returncode != (1 if name in TRUNCATED else 0):
        return [f"exit {run.returncode}: {said}"], None, 0
    outer, outer_counters, _ = by_weir(path, "--no-tunnel")
    wrong = unbalanced(counters) + unbalanced(outer_counters)
    frames = by_tshark(path)
    if total(counters, "packets_received") != len(frames) - CUSTOM_BLOCKS.get(name, 0):
        wrong.append(f"{total(counters, 'packets_received')} packets received, tshark has "
                     f"{len(frames)}")
    if any(layers is None for _, layers in frames):
        return wrong, "not compared: behind labels tshark guesses", 0
    by_mode = [conversations(frames, innermost) for innermost in (False, True)]
    wrong += [f"--no-tunnel {line}" for line in differences(outer, by_mode[0])]
    note = None
    if name in INSIDE:
        note = f"inside of tunnels not compared: {INSIDE[name]}"
    else:
        wrong += differences(inner, by_mode[1])
    return wrong, note, len(by_mode[0]) + len(by_mode[1])


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
