#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Jitter of RTP (RFC 3550 section 6.4.1): what tshark's analysis of the same streams says, and what
weir-probe says at their end. Streams of voice and video, late by chance, some of them lost."""
import json
import os
import random
import re
import struct
import subprocess
import sys
import tempfile

BUILD = os.environ.get("WEIR_BUILD", "build")
# payload type, its clock, ms between packets, most that one is late in ms, lost of a thousand
STREAMS = ((0, 8000, 20, 0, 0), (0, 8000, 20, 4, 0), (8, 8000, 20, 15, 0), (8, 8000, 30, 10, 20), (34, 90000, 40, 12, 0),
           (26, 90000, 33, 25, 10), (9, 8000, 20, 8, 5), (31, 90000, 40, 1, 0))
PACKETS = 600


def stream(number, dice):
    """(arrival in us, frame) of each packet, and the jitter after each in ms, as the RFC has it."""
    kind, clock, step_ms, late_ms, lost = STREAMS[number]
    frames, jitters, jitter, before = [], [], 0.0, None
    for i in range(PACKETS):
        stamp = (7777 + i * step_ms * clock // 1000) & 0xffffffff
        # in order: none is so late that the next is before it
        at_us = 1000 * (i * step_ms) + int(dice.random() * min(late_ms, step_ms - 1) * 1000)
        if i and dice.random() * 1000 < lost:
            continue
        rtp = struct.pack(">BBHII", 0x80, kind, i & 0xffff, stamp, 0xabc00 + number) + dice.randbytes(160)
        udp = struct.pack(">HHHH", 20000 + 2 * number, 30000 + 2 * number, 8 + len(rtp), 0) + rtp
        ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), i, 0, 64, 17, 0, bytes((10, 5, 0, 1 + number)),
                         bytes((10, 6, 0, 1)))
        frames.append((at_us, bytes(12) + b"\x08\0" + ip + udp))
        if before:
            there = (at_us - before[0]) / 1e3 - ((stamp - before[1]) & 0xffffffff) * 1e3 / clock
            jitter += (abs(there) - jitter) / 16
            jitters.append(jitter)
        before = at_us, stamp
    return frames, jitters


def write(path, frames):
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
        for at_us, frame in sorted(frames):
            file.write(struct.pack("<IIII", 1700000000 + at_us // 1000000, at_us % 1000000, len(frame), len(frame)) + frame)


def by_tshark(path):
    """Mean and largest jitter in ms by source port."""
    ports = [word for n in range(len(STREAMS)) for word in ("-d", f"udp.port=={30000 + 2 * n},rtp")]
    run = subprocess.run(["tshark", "-n", "-r", path, *ports, "-q", "-z", "rtp,streams"], capture_output=True, text=True,
                         check=True)
    found = {}
    for line in run.stdout.splitlines():
        row = re.match(r"\s*[\d.]+\s+[\d.]+\s+(\S+)\s+(\d+)\s+\S+\s+\d+\s+0x", line)
        if row:
            numbers = re.findall(r"\d+\.\d+", line.split(")")[-1])
            found[int(row[2])] = float(numbers[-2]), float(numbers[-1])
    return found


def main():
    dice, frames, expected = random.Random(3550), [], {}
    for n in range(len(STREAMS)):
        some, jitters = stream(n, dice)
        frames += some
        expected[20000 + 2 * n] = jitters
    with tempfile.TemporaryDirectory(prefix="weir-rtp-") as folder:
        path = os.path.join(folder, "rtp.pcap")
        write(path, frames)
        said = by_tshark(path)
        run = subprocess.run([os.path.join(BUILD, "weir-probe"), "-i", path, "--json", "-", "-t", "600", "--data-dir",
                              os.path.join(folder, "data")], capture_output=True, text=True, check=True)
    flows = {f["src_port"]: f for f in map(json.loads, run.stdout.splitlines())}
    wrong = 0
    for port, jitters in expected.items():
        mean, most = said[port]
        ours = flows[port].get("jitter_us", 0) / 1000
        # tshark rounds to a microsecond; weir counts in whole ones
        alike = abs(most - max(jitters)) < 0.02 and abs(ours - jitters[-1]) < 0.02 + jitters[-1] / 100
        wrong += not alike
        print(f"{'ok' if alike else 'FAIL':4}  port {port}: at most {max(jitters):.3f} ms, tshark {most:.3f}; at the end "
              f"{jitters[-1]:.3f}, weir {ours:.3f}")
    print(f"{len(expected) - wrong} passed, {wrong} failed")
    sys.exit(1 if wrong or not expected else 0)


main()
