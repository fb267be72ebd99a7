# SPDX-License-Identifier: Apache-2.0
"""Thousands of peers that are no probes: each connects, says nothing or nonsense, and stays as long
as it is let; who is cut comes again. They run in a process of their own, so that neither their
descriptors nor their work are the test's."""
import collections
import errno
import multiprocessing
import os
import random
import resource
import select
import socket
import time

# a greeting of ZMTP 3.1 by a client that will speak CURVE, and what it would say next
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"CURVE".ljust(20, b"\0") + b"\0" + bytes(31)
HELLO = b"\x04\xc8\x05HELLO\x01\x00" + bytes(72)

KINDS = {  # what it says, or how that is made
    "silent": b"",
    "http": b"GET / HTTP/1.1\r\nHost: weir\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40),
    "noise": lambda draw: draw.randbytes(draw.randrange(1, 300)),
    "half": GREETING[:11],  # of the greeting
    "greeting": GREETING,  # and nothing more
    "hello": lambda draw: GREETING + HELLO + draw.randbytes(120),  # right in length, of no key
    "long": lambda draw: GREETING + b"\x02" + (2 ** 62).to_bytes(8, "big"),  # announces 4 EB
}
BACK_S = 5.0  # who was cut comes again after so long
AT_ONCE = 200  # attempts between two looks at those that are there


class _Peers:
    def __init__(self, ports, kinds, n, seed):
        self.draw = random.Random(seed)
        self.epoll = select.epoll()
        self.due = collections.deque((0.0, i) for i in range(n))
        self.kinds = [kinds[i % len(kinds)] for i in range(n)]
        self.ports = [ports[i // len(kinds) % len(ports)] for i in range(n)]
        self.peers = {}  # by descriptor: number and socket
        self.opened = self.cut = 0

    def open(self, i):
        peer = socket.socket()
        peer.setblocking(False)
        peer.bind((f"127.0.{1 + i % 50}.{1 + i % 7}", 0))
        code = peer.connect_ex(("127.0.0.1", self.ports[i]))
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, os.strerror(code))
        self.peers[peer.fileno()] = i, peer
        self.epoll.register(peer.fileno(), select.EPOLLOUT)
        self.opened += 1

    def gone(self, fd, now):
        i, peer = self.peers.pop(fd)
        peer.close()
        self.cut += 1
        self.due.append((now + BACK_S, i))

    def turn(self):
        now = time.monotonic()
        for _ in range(AT_ONCE):
            if not self.due or self.due[0][0] > now:
                break
            self.open(self.due.popleft()[1])
        for fd, events in self.epoll.poll(0.02):
            i, peer = self.peers[fd]
            try:
                if events & select.EPOLLOUT:
                    word = KINDS[self.kinds[i]]
                    peer.send(word(self.draw) if callable(word) else word)
                    self.epoll.modify(fd, select.EPOLLIN)
                elif not peer.recv(4096):
                    self.gone(fd, now)
            except OSError:
                self.gone(fd, now)


def _keep(pipe, ports, kinds, n, seed):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    want = n + 200
    resource.setrlimit(resource.RLIMIT_NOFILE, (want, max(want, hard)))
    os.nice(5)  # what is measured is how the hub bears them
    peers = _Peers(ports, kinds, n, seed)
    told = 0.0
    while True:
        peers.turn()
        if pipe.poll(0):
            return
        if time.monotonic() - told > 0.1:
            told = time.monotonic()
            pipe.send((len(peers.peers), peers.opened, peers.cut))


class Crowd:
    """n peers of some kinds, in turn, at some ports of 127.0.0.1; gone when it is left."""

    def __init__(self, ports, n, kinds=tuple(KINDS), seed=1):
        self.pipe, other = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=_keep, args=(other, ports, kinds, n, seed),
                                               daemon=True)
        self.state = 0, 0, 0

    def __enter__(self):
        self.process.start()
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.join()

    def look(self):
        """How many are connected, were opened, and were cut."""
        while self.pipe.poll(0):
            self.state = self.pipe.recv()
        if not self.process.is_alive():
            raise OSError("the crowd's process has ended")
        return self.state
