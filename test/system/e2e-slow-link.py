#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# time limit: 300 s
"""A line of 64 kbit/s: through a proxy that passes 8,000 bytes/s each way, data and events together,
and holds next to nothing itself, a probe connects, keeps its session, and delivers all."""
import collections
import socket
import threading
import time

from _e2e import SLOW, check, free_ports, main, same, wait_for
from _feed import Feed, exactly_once, total

BYTES_S = 8000
DELAY_S = 0.15  # one way
PIECE = 400
SEGMENT = 1400
BUFFER = 16384  # of its sockets: who sends more than the line takes feels it
BACKLOG, LIVE, LIVE_STEP = 24000, 600, 20  # flows: before the hub is reached, and while they are delivered


class Bucket:
    """What one direction of the line may pass, whichever connection it is of."""

    def __init__(self, bytes_s):
        self.bytes_s, self.lock, self.free_at, self.passed = bytes_s, threading.Lock(), 0.0, 0

    def take(self, n):
        with self.lock:
            now = time.monotonic()
            self.free_at = max(self.free_at, now) + n / self.bytes_s
            self.passed += n
            wait = self.free_at - now
        time.sleep(wait)


class Line:
    """Listens on ports and passes what comes to the hub's, slowly."""

    def __init__(self, ports):
        self.up, self.down = Bucket(BYTES_S), Bucket(BYTES_S)
        self.connections = collections.Counter()
        self.ended = []  # (port, who) in the order in which it was noticed
        for port, to in ports.items():
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
            listener.bind(("127.0.0.1", port))
            listener.listen(16)
            self.thread(self.accept, listener, port, to)

    @staticmethod
    def thread(target, *args):
        threading.Thread(target=target, args=args, daemon=True).start()

    def accept(self, listener, port, to):
        while True:
            probe = listener.accept()[0]
            self.connections[port] += 1
            hub = socket.socket()
            for each in (probe, hub):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
            hub.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
            hub.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
            hub.connect(("127.0.0.1", to))
            self.carry(probe, hub, self.up, port, "probe")
            self.carry(hub, probe, self.down, port, "hub")

    def carry(self, source, target, bucket, port, who):
        pieces = collections.deque()  # (when it arrives, bytes)
        there = threading.Semaphore(0)

        def read():
            piece = b"-"
            while piece:
                try:
                    piece = source.recv(PIECE)
                except OSError:
                    piece = b""
                bucket.take(len(piece))
                pieces.append((time.monotonic() + DELAY_S, piece))
                there.release()

        def write():
            while True:
                there.acquire()
                at, piece = pieces.popleft()
                time.sleep(max(0.0, at - time.monotonic()))
                try:
                    target.sendall(piece) if piece else target.shutdown(socket.SHUT_WR)
                except OSError:
                    pass
                if not piece:
                    self.ended.append((port, who))
                    return
        self.thread(read)
        self.thread(write)


def test_slow_line(lab):
    hub = lab.hub()
    port = free_ports(2)
    key = hub.key()
    feed = Feed(lab, 1, "--ntopng", f"tcp://127.0.0.1:{port}", "--zmq-probe-mode",
                "--zmq-encryption-key", key, "--exit-timeout", "200", name="site")
    feed.flows(BACKLOG)
    feed.flows(1)  # those before have ended
    wait_for("the hub is not reached", lambda: "nothing listens" in feed.probe.log())
    begin = time.monotonic()
    line = Line({port: hub.port, port + 1: hub.port + 1})
    wait_for("it is connected", lambda: "connected" in feed.probe.log(), 30)
    connected_s = time.monotonic() - begin
    live, late_s = LIVE, 0.0
    while feed.probe.running():
        if live > 0:
            feed.flows(LIVE_STEP)
            live -= LIVE_STEP
            if live <= 0:
                feed.end()
        time.sleep(0.5)
        at = hub.get("/probes")
        check(len(at) == 1 and at[0]["connected"], f"the session stands: {at}")
        late_s = max(late_s, time.time() - at[0]["last_seen_ms"] / 1000)
        check(time.monotonic() - begin < 200 * SLOW, f"{total(hub)} flows in time")
    took_s = time.monotonic() - begin
    same(feed.probe.wait(1), 0, "the probe ends with")
    exactly_once(hub, range(1, feed.next))
    same(total(hub), feed.next - 1, "flows stored")
    probe = hub.get("/probes")[0]
    same((probe["flows_missing"], probe["flows_stored"]), (0, feed.next - 1), "missing, stored")
    stored = int([row for row in hub.fetch("/metrics")[1].decode().splitlines()
                  if row.startswith("weir_interface_bytes_total")][0].rsplit(" ", 1)[1])
    print(f"      connected after {connected_s:.1f} s; {feed.next - 1} flows, {stored} bytes in "
          f"batches, in {took_s:.0f} s; up {line.up.passed}, down {line.down.passed} bytes; heard at "
          f"least every {late_s:.1f} s")
    same(dict(line.connections), {port: 1, port + 1: 1}, "connections through the line")
    same(feed.probe.log().count("connected"), 1, f"times connected: {feed.probe.log()}")
    same(hub.log().count(" connected,"), 1, f"sessions at the hub: {hub.log()}")
    check(stored > 200000, f"{stored} bytes were to be delivered")
    check(stored > line.up.passed * 0.6, f"{stored} of {line.up.passed} bytes were batches")
    check(connected_s < 8 * SLOW, f"connected after {connected_s:.1f} s")


main([test_slow_line])
