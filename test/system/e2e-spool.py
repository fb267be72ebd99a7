#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# time limit: 180 s
"""A capture file with more flows than the spool holds. While the hub is away the file waits; what a
full spool lets go all the same is said, and is no success."""
import random
import re
import struct
import time

from _e2e import free_ports, main, same, check, offline

FLOWS = 120000  # random addresses do not compress: twice the smallest spool


def capture(lab):
    draw = random.Random(1)
    path = lab.path("many.pcap")
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 101))
        for i in range(FLOWS):
            udp = struct.pack(">HHHH", draw.randrange(1024, 65536), 9, 8, 0)
            ip = struct.pack(">BBHHHBBH", 0x45, 0, 28, 0, 0, 64, 17, 0) + draw.randbytes(8)
            file.write(struct.pack("<IIII", 1700000000, i, 28, 28) + ip + udp)
    return path


def start(lab, path, port, key, timeout_s):
    return lab.probe("-i", path, "--no-dpi", "--spool-size", "1M", "--exit-timeout", str(timeout_s),
                     "--ntopng", f"tcp://127.0.0.1:{port}", "--zmq-probe-mode",
                     "--zmq-encryption-key", key)


def test_hub_comes_later(lab):
    hub = lab.hub()
    key, path = hub.key(), capture(lab)
    same(len(offline(lab, path)), FLOWS, "flows of the capture")
    hub.stop()
    probe = start(lab, path, hub.port, key, 60)
    time.sleep(3)
    check(probe.running(), f"the probe waits: {probe.log()[-1500:]}")
    hub.again()
    same(probe.wait(60), 0, "the probe ends with")
    same(hub.get("/flows", from_=0, to=2 ** 43, limit=1)["total"], FLOWS, "flows stored")


def test_no_hub(lab):
    key, path = lab.hub().key(), capture(lab)
    probe = start(lab, path, free_ports(2), key, 2)
    same(probe.wait(60), 3, "the probe ends with")
    left = re.findall(r"(\d+) flows left", probe.log())
    gone = re.findall(r"(\d+) flows were let go", probe.log())
    check(left and gone, f"what is left and what is gone is said: {probe.log()[-1500:]}")
    same(int(left[-1]) + int(gone[-1]), FLOWS, "flows left and gone")


main([test_hub_comes_later, test_no_hub])
