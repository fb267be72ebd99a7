#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# time limit: 400 s
"""A running probe under attack: damaged datagrams by UDP and TCP, and floods of exporters, domains,
templates, names and data without templates. It stays up, forgets nothing of its accounts, and does
not grow beyond its bounds; with WEIR_BUILD=build-asan it leaks nothing either. Datagrams are those
of _exporter.py and, where it is, of the corpus beside the repository."""
import glob
import os
import random
import re
import socket
import struct
import time

import _exporter
from _e2e import SLOW, SOURCE, check, main, same, wait_for

CORPUS = os.path.join(os.path.dirname(SOURCE), "shared", "corpus")
# beyond what it has when it starts: templates and names, data that waits, domains, what is received
GROWTH_MAX_MB = 160 * (3 if SLOW > 1 else 1)
DATAGRAMS = 30000


def pcap_payloads(path):
    """Of UDP over IPv4 in a capture of Ethernet; of anything else nothing."""
    with open(path, "rb") as file:
        data = file.read(4 << 20)
    if data[:4] not in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") or struct.unpack("<I", data[20:24])[0] & 0xffff != 1:
        return
    at = 24
    while at + 16 <= len(data):
        size = struct.unpack("<I", data[at + 8:at + 12])[0]
        frame = data[at + 16:at + 16 + size]
        at += 16 + size
        if frame[12:14] == b"\x08\x00" and len(frame) > 42 and frame[23] == 17:
            yield frame[14 + (frame[14] & 15) * 4 + 8:]


def seeds():
    found = [d for _, ds, _ in _exporter.cases() for d in ds] + 4 * _exporter.late()[0]
    for folder in ("netflow5", "netflow9", "ipfix", "sflow", "malformed"):
        for path in sorted(glob.glob(os.path.join(CORPUS, folder, "**", "*.pcap"), recursive=True)):
            found += [p for p in list(pcap_payloads(path))[:20] if 0 < len(p) < 9000]
    return found


def damage(dice, data):
    data = bytearray(data)
    for _ in range(dice.randrange(0, 5)):
        at = dice.randrange(min(len(data), 60) if dice.random() < 0.6 else len(data))
        data[at] = dice.choice((0, 1, 2, 0x7f, 0x80, 0xff, dice.randrange(256)))
    if dice.random() < 0.1:
        at = dice.randrange(len(data))
        data[at:at] = data[:dice.randrange(1, 200)]
    return bytes(data[:len(data) if dice.random() < 0.7 else dice.randrange(1, len(data) + 1)])


class Attacked:
    def __init__(self, lab, *options):
        self.counters = lab.path("counters")
        self.probe = lab.probe("--collector-port", "127.0.0.1:0", "--json", "none", "--counters", self.counters,
                               "--collector-workers", "2", "--keep-unknown", *options)
        said = wait_for("the port", lambda: re.search(r"on port (\d+)", self.probe.log()))
        self.to = ("127.0.0.1", int(said[1]))
        self.first_mb = self.resident_mb()
        self.sockets = {}
        self.sent = 0

    def resident_mb(self):
        with open(f"/proc/{self.probe.process.pid}/status") as file:
            return int(re.search(r"VmRSS:\s+(\d+)", file.read())[1]) / 1024

    def send(self, datagram, source):
        if source not in self.sockets:
            if len(self.sockets) > 400:
                self.sockets.pop(next(iter(self.sockets))).close()
            self.sockets[source] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.sockets[source].bind((source, 0))
        self.sockets[source].sendto(datagram, self.to)
        self.sent += 1
        if self.sent % 100 == 0:
            time.sleep(0.01)  # it is to be read, not dropped at the door

    def grown_mb(self, what):
        time.sleep(1)
        check(self.probe.process.poll() is None, f"{what}: it is gone: {self.probe.log()[-2000:]}")
        grown = self.resident_mb() - self.first_mb
        print(f"      {what}: {self.sent} datagrams, {grown:.0f} MB more than at its start")
        check(grown < GROWTH_MAX_MB, f"{what}: grown by {grown:.0f} MB")
        return grown

    def end(self):
        """Its accounts, which add up."""
        for one in self.sockets.values():
            one.close()
        same(self.probe.stop(60), 0, f"exit: {self.probe.log()[-3000:]}")
        log = self.probe.log()
        check(not re.search("AddressSanitizer|LeakSanitizer|runtime error", log), log[-3000:])
        with open(self.counters) as file:
            text = file.read()
        units = {}
        for name, who, n in re.findall(r'^weir_probe_exporter_(sent_total|units)\{(.*?)(?:,fate="\w+")?\} (\d+)$', text, re.M):
            units.setdefault(who, {"sent_total": 0, "units": 0})[name] += int(n)
        for who, found in units.items():
            same(found["units"], found["sent_total"], f"what {who} sent")
        counted = {k: int(v) for k, v in re.findall(r"^weir_probe_collect_(\S+) (\d+)$", text, re.M)}
        same(counted["sets_held"], 0, "sets held at the end")
        read = sum(n for k, n in counted.items() if k.startswith("datagrams_read"))
        unread = sum(n for k, n in counted.items() if re.match(r'malformed_total\{reason="(header|version)"', k))
        # what had no domain any more (limit) or another length than it says is neither
        other = sum(counted.get(f'malformed_total{{reason="{why}"}}', 0) for why in ("limit", "length"))
        check(0 <= counted["datagrams_total"] - read - unread <= other, f"datagrams: {counted}")
        return units, counted


def source(i):
    return f"127.{1 + i // 62500 % 250}.{i // 250 % 250}.{1 + i % 250}"


def test_damaged(lab):
    dice = random.Random(23)
    known = seeds()
    port = Attacked(lab)
    for i in range(DATAGRAMS // SLOW):
        data = damage(dice, dice.choice(known))
        if data:
            port.send(data[:65000], source(dice.randrange(200)))
    half = port.grown_mb("damaged datagrams")
    for i in range(DATAGRAMS // SLOW):
        data = damage(dice, dice.choice(known))
        if data:
            port.send(data[:65000], source(dice.randrange(200)))
    check(port.grown_mb("as many again") < half + 48, "it goes on growing")
    units, counted = port.end()
    check(len(units) > 100 and counted["datagrams_total"] > port.sent // 2, f"{len(units)} accounts, {counted}")
    check(sum(n for k, n in counted.items() if k.startswith("malformed")) > port.sent // 100, counted)


def test_damaged_streams(lab):
    """IPFIX over TCP: cut anywhere, changed, left open, left at once."""
    dice = random.Random(29)
    messages = [d for d in seeds() if d[:2] == b"\0\x0a"]
    port = Attacked(lab)
    for i in range(600 // SLOW):
        stream = b"".join(damage(dice, dice.choice(messages)) if dice.random() < 0.3 else dice.choice(messages)
                          for _ in range(dice.randrange(1, 12)))
        with socket.create_connection(port.to, 10) as s:
            try:
                for at in range(0, len(stream), 700):
                    s.sendall(stream[at:at + 700])
            except OSError:
                pass  # it threw us out
        port.sent += 1
    port.grown_mb("damaged streams")
    port.end()


def test_floods(lab):
    """Each of these alone would fill the memory of a collector that keeps all it is told."""
    port = Attacked(lab)
    wide = [(1 + i % 2, 4) for i in range(330)]
    for i in range(9000 // SLOW):  # exporters, each with a template and data that waits
        port.send(_exporter.ipfix([_exporter.template(256, wide), _exporter.a_set(300, bytes(40))]), source(i))
    port.grown_mb("exporters")
    for i in range(20000 // SLOW):  # domains of one
        port.send(_exporter.ipfix([_exporter.template(256, wide[:100])], 0, i), "127.0.9.1")
    port.grown_mb("domains")
    for i in range(20000 // SLOW):  # templates of one, six a message
        port.send(_exporter.ipfix([_exporter.template(256 + (6 * i + k) % 65000, wide[:50]) for k in range(6)], 0, 7),
                  "127.0.9.2")
    port.grown_mb("templates")
    for i in range(20000 // SLOW):  # data that nobody has a template for, in small sets
        port.send(_exporter.v9([_exporter.a_set(400 + k, b"\0") for k in range(200)], i, 7), f"127.0.9.{3 + i % 40}")
    port.grown_mb("data without templates")
    for i in range(6000 // SLOW):  # names
        body = b"".join(struct.pack(">I", i * 20 + k) + b"\xc8" + bytes([65 + k]) * 200 for k in range(6))
        port.send(_exporter.ipfix([_exporter.template(310, [(10, 4), (82, 0xffff)], 3, 1), _exporter.a_set(310, body)],
                                  0, 7), "127.0.9.50")
    port.grown_mb("names")
    # who comes after all that is read like anybody
    before = port.sent
    for _ in range(5):
        port.send(_exporter.old(5, [_exporter.flow(1)]), "127.0.99.1")
    _, counted = port.end()
    check(counted["exporters_let_go_total"] > 0 or SLOW > 1, counted)
    check(counted["flows_total"] >= 5, f"{before} sent before: {counted}")


if __name__ == "__main__":
    main([test_damaged, test_damaged_streams, test_floods])
