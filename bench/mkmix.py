#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes a large capture out of small ones: every capture repeated with new addresses, interleaved.

usage: mkmix.py OUT.pcap PACKETS LEAST CAPTURE_OR_FOLDER...

Only Ethernet captures in the classic pcap format are taken, and of these only such with at least
LEAST packets a flow on average; LEAST 0 leaves out no more than scans (more than 50 flows of hardly
a packet each), of which one would be most of the mix. IPv4 and IPv6 addresses of outer
headers are changed per repetition (checksums updated, RFC 1624), time stamps are shifted by a
seeded offset, so the result is the same for the same input.
"""
import heapq
import os
import random
import struct
import sys

SPAN_S = 600


def captures(paths):
    for path in paths:
        if os.path.isdir(path):
            for folder, _, names in sorted(os.walk(path)):
                for name in sorted(names):
                    if name.endswith(".pcap"):
                        yield os.path.join(folder, name)
        else:
            yield path


def read(path):
    """The packets of one capture as (seconds since its first packet, frame, wire length)."""
    with open(path, "rb") as file:
        data = file.read()
    order = {b"\xd4\xc3\xb2\xa1": ("<", 1e6), b"\xa1\xb2\xc3\xd4": (">", 1e6),
             b"\x4d\x3c\xb2\xa1": ("<", 1e9), b"\xa1\xb2\x3c\x4d": (">", 1e9)}.get(data[:4])
    if not order or len(data) < 24:
        return []
    endian, ticks = order
    if struct.unpack(endian + "I", data[20:24])[0] & 0x0FFFFFFF != 1:
        return []
    packets, at, first = [], 24, None
    while at + 16 <= len(data):
        sec, frac, caplen, wirelen = struct.unpack(endian + "IIII", data[at:at + 16])
        at += 16
        if at + caplen > len(data):
            break
        when = sec + frac / ticks
        first = when if first is None else first
        if 14 <= caplen <= 65535 and 0 <= when - first < SPAN_S:
            packets.append((when - first, data[at:at + caplen], wirelen))
        at += caplen
    return packets


def checksum_update(old_sum, old, new):
    total = (~old_sum & 0xFFFF) + (~old & 0xFFFF) + new
    total = (total & 0xFFFF) + (total >> 16)
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


def ip_offset(frame):
    at, ethertype = 14, struct.unpack(">H", frame[12:14])[0]
    while ethertype in (0x8100, 0x88A8) and at + 4 <= len(frame):
        ethertype = struct.unpack(">H", frame[at + 2:at + 4])[0]
        at += 4
    return at, ethertype


def readdress(frame, mark):
    """The frame with 16 bits of both outer addresses changed by xor with mark."""
    if mark == 0:
        return frame
    at, ethertype = ip_offset(frame)
    if ethertype == 0x0800 and len(frame) >= at + 20:
        spots, proto, l4 = (at + 13, at + 17), frame[at + 9], at + (frame[at] & 15) * 4
        fragment = struct.unpack(">H", frame[at + 6:at + 8])[0] & 0x1FFF
        sums = [at + 10]
    elif ethertype == 0x86DD and len(frame) >= at + 40:
        spots, proto, l4, fragment, sums = (at + 12, at + 28), frame[at + 6], at + 40, 0, []
    else:
        return frame
    out = bytearray(frame)
    if fragment == 0:
        sums += {6: [l4 + 16], 17: [l4 + 6], 58: [l4 + 2]}.get(proto, [])
    for spot in spots:
        even = spot - ((spot - at) & 1)
        before = [struct.unpack(">H", out[i:i + 2])[0] for i in (even, even + 2)]
        out[spot] ^= mark >> 8
        out[spot + 1] ^= mark & 0xFF
        after = [struct.unpack(">H", out[i:i + 2])[0] for i in (even, even + 2)]
        for s in sums:
            if s + 2 > len(out) or (proto == 17 and s == l4 + 6 and out[s:s + 2] == b"\0\0"):
                continue
            value = struct.unpack(">H", out[s:s + 2])[0]
            for old, new in zip(before, after):
                value = checksum_update(value, old, new)
            out[s:s + 2] = struct.pack(">H", value)
    return bytes(out)


def flow_of(frame):
    """What the packets of one flow have in common, None if it is not IP."""
    at, ethertype = ip_offset(frame)
    if ethertype == 0x0800 and len(frame) >= at + 20:
        proto, ends, l4 = frame[at + 9], (frame[at + 12:at + 16], frame[at + 16:at + 20]), at + (frame[at] & 15) * 4
    elif ethertype == 0x86DD and len(frame) >= at + 40:
        proto, ends, l4 = frame[at + 6], (frame[at + 8:at + 24], frame[at + 24:at + 40]), at + 40
    else:
        return None
    ports = (frame[l4:l4 + 2], frame[l4 + 2:l4 + 4]) if proto in (6, 17) else (b"", b"")
    return proto, *sorted(zip(ends, ports))


def is_wanted(packets, least):
    of = [flow for flow in (flow_of(frame) for _, frame, _ in packets) if flow]
    flows = len(set(of))
    return flows and len(of) / flows >= (least or (1.5 if flows > 50 else 1))


def repetition(packets, mark, offset):
    for when, frame, wirelen in packets:
        yield offset + when, frame, wirelen, mark


def main():
    if len(sys.argv) < 5:
        sys.exit(__doc__.strip())
    out, wanted, least = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    sources = [p for p in (read(path) for path in captures(sys.argv[4:])) if p and is_wanted(p, least)]
    if not sources:
        sys.exit("no Ethernet capture in classic pcap format among " + " ".join(sys.argv[4:]))
    rng = random.Random(1)
    # every source gets the same share of repetitions, at least one
    each = max(1, wanted // sum(len(p) for p in sources))
    streams = [repetition(p, mark & 0xFFFF, rng.random() * SPAN_S) for mark in range(each) for p in sources]
    n = 0
    with open(out, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for when, frame, wirelen, mark in heapq.merge(*streams, key=lambda item: item[0]):
            frame = readdress(frame, mark)
            sec = 1700000000 + int(when)
            file.write(struct.pack("<IIII", sec, int(when % 1 * 1e6), len(frame), wirelen))
            file.write(frame)
            n += 1
    print(f"{out}: {n} packets from {len(sources)} captures, {each} repetitions")


if __name__ == "__main__":
    main()
