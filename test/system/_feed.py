# SPDX-License-Identifier: Apache-2.0
"""A probe fed with packets from here, each a flow with a number of its own, and whether a hub has each
flow once."""
import collections
import os
import random
import struct

from _e2e import check, same


RAW_IP, ETHERNET = 101, 1  # link types


def capture_header(link_type):
    return struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, link_type)


class Piped:
    """A probe that reads a capture from here."""

    def __init__(self, lab, link_type, *options, **more):
        read_end, write_end = os.pipe()
        self.probe = lab.probe("-i", "-", *options, stdin=read_end, **more)
        os.close(read_end)
        self.pipe = os.fdopen(write_end, "wb", buffering=0)
        self.write(capture_header(link_type))

    def write(self, block):
        while block:
            block = block[self.pipe.write(block):]

    def end(self):
        self.pipe.close()


class Feed(Piped):
    """Flows when the test says so: each packet is one, with a number of its own."""
    clock = 1700000000

    def __init__(self, lab, first, *options, **more):
        super().__init__(lab, RAW_IP, "--no-dpi", "-d", "1", *options, **more)
        self.next, self.draw = first, random.Random(first)

    def flows(self, n, to=None):
        """n flows; those before have ended, for the packets' clock has gone on."""
        for start in range(0, n, 500):
            Feed.clock += 3
            block = b""
            for _ in range(min(500, n - start)):
                source = struct.pack(">I", 0x0a000000 + self.next)
                # random, so that a batch stays large when it is compressed
                udp = struct.pack(">HHHH", self.draw.randrange(1024, 65536), 9, 8, 0)
                ip = struct.pack(">BBHHHBBH", 0x45, 0, 28, 0, 0, 64, 17, 0) + source + (
                    to or b"\x0c" + self.draw.randbytes(3))
                block += struct.pack("<IIII", Feed.clock, 0, 28, 28) + ip + udp
                self.next += 1
            self.write(block)


def number(flow):
    a, b, c, d = map(int, flow["src_ip"].split("."))
    return (a << 24 | b << 16 | c << 8 | d) - 0x0a000000


def numbers(flows):
    return collections.Counter(map(number, flows))


def flows_between(hub, from_ms, to_ms):
    """All of them, in times that one answer holds: pages over equal times might overlap."""
    page = hub.get("/flows", from_=from_ms, to=to_ms, limit=1000)
    if page["total"] <= 1000:
        return page["flows"]
    middle = (from_ms + to_ms) // 2
    return flows_between(hub, from_ms, middle) + flows_between(hub, middle, to_ms)


def exactly_once(hub, ledger):
    """Everything of the ledger is in the hub, once."""
    found = flows_between(hub, 1700000000000, Feed.clock * 1000 + 1000)
    same(len(found), total(hub), "flows read")
    stored = numbers(found)
    twice = [n for n, times in stored.items() if times > 1]
    missing = sorted(set(ledger) - set(stored))
    check(not twice, f"{len(twice)} flows stored twice, {twice[:5]}")
    check(not missing, f"{len(missing)} of {len(ledger)} flows not stored, {missing[:5]}")
    return stored


def total(hub):
    return hub.get("/flows", from_=0, to=2 ** 43, limit=1)["total"]
