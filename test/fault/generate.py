# SPDX-License-Identifier: Apache-2.0
"""Sends flows of one packet each on interfaces, every one with a number of its own in source
address and port (ledger.py reads it back). Told on standard input: `rate INTERFACE A_SECOND`,
`burst INTERFACE N`, `sent`, and the end. Arguments: INTERFACE=SITE…"""
import os
import random
import select
import socket
import struct
import sys
import time

TICK_S = 0.02


class Wire:
    def __init__(self, interface, site, draw):
        self.site, self.n, self.rate, self.due, self.draw = site, 0, 0.0, 0.0, draw
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self.socket.bind((interface, 0))

    def frame(self):
        number, self.n = self.n, self.n + 1
        if number >= 1 << 24:
            sys.exit("a site has no more numbers")
        bits = self.draw.getrandbits(64)
        payload = bytes(bits & 63)
        size = 28 + len(payload)
        ip = struct.pack(">BBHHHBBHBBHBBH", 0x45, 0, size, number & 0xffff, 0, 64, 17, 0, 10,
                         self.site, number >> 8, 20, 30, bits >> 8 & 0xffff)
        total = sum(struct.unpack(">10H", ip))
        total = (total & 0xffff) + (total >> 16)
        ip = ip[:10] + struct.pack(">H", ~((total & 0xffff) + (total >> 16)) & 0xffff) + ip[12:]
        return (b"\x02\0\0\0\0\x01\x02\0\0\0\0\x02\x08\x00" + ip
                + struct.pack(">HHHH", 1024 + (number & 255), bits >> 24 & 0xffff or 1, size - 20, 0)
                + payload)

    def send(self, n):
        for _ in range(n):
            try:
                self.socket.send(self.frame())
            except OSError:  # a full queue: the packet is gone, and its number with it
                pass


def command(line, wires):
    words = line.split()
    if words[0] == "rate":
        wires[words[1]].rate = float(words[2])
    elif words[0] == "burst":
        wires[words[1]].due += int(words[2])
    elif words[0] == "sent":
        print(sum(wire.n for wire in wires.values()), flush=True)


def main():
    draw = random.Random(1)
    wires = {}
    for word in sys.argv[1:]:
        interface, site = word.split("=")
        wires[interface] = Wire(interface, int(site), draw)
    then, rest = time.monotonic(), ""
    while True:
        ready, _, _ = select.select([0], [], [], TICK_S)
        if ready:
            read = os.read(0, 65536).decode()
            if not read:
                return
            *lines, rest = (rest + read).split("\n")
            for line in lines:
                command(line, wires)
        now = time.monotonic()
        for wire in wires.values():
            wire.due += wire.rate * (now - then)
            n = min(int(wire.due), 2000)  # a burst takes its time: 100,000 a second at most
            wire.due -= n
            wire.send(n)
        then = now


main()
