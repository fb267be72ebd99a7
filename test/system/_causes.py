# SPDX-License-Identifier: Apache-2.0
"""The texts of causes, read from the program's own rows, and a shim that a program runs under: its
clock off by some seconds, or its names slow to resolve."""
import contextlib
import functools
import json
import os
import socket
import subprocess
import threading

from _e2e import BUILD, SOURCE


@functools.cache
def rows():
    run = subprocess.run([os.path.join(BUILD, "src", "dump-causes")], capture_output=True,
                         check=True)
    return {row["id"]: row for row in json.loads(run.stdout)}


def filled(text, at, detail):
    return text.replace("{at}", at).replace("{detail}", detail)


def cause_text(cause, at="", detail=""):
    return filled(rows()[cause]["text"], at, detail)


def cause_line(cause, at="", detail=""):
    row = rows()[cause]
    line = filled(f"{row['text']}; {row['mend']}", at, detail)
    return line if not at or "{at}" in row["text"] else f"{at}: {line}"


def shim(lab, **settings):
    """Environment for a program: WEIR_SHIM_CLOCK_S, WEIR_SHIM_RESOLVE_S, WEIR_SHIM_STALL."""
    path = lab.path("shim.so")
    if not os.path.exists(path):
        subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-O1", "-o", path,
                        os.path.join(SOURCE, "test", "system", "shim.c"), "-ldl"], check=True)
    return {"LD_PRELOAD": path, "ASAN_OPTIONS": "verify_asan_link_order=0",
            **{name: str(value) for name, value in settings.items()}}


# of ZeroMQ: greeting and mechanism NULL, then what it would say to a server like that
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + b"\0" + bytes(31)
READY = b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03PUB"


def speak_plain(port):
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as peer:
            peer.settimeout(5)
            peer.sendall(GREETING + READY)
            while peer.recv(4096):
                pass
    except OSError:
        pass


@contextlib.contextmanager
def plain_peer(port):
    """A peer without CURVE, as an old nProbe would be, that tries again and again as ZeroMQ does
    (each connection may be gone before the hub could look where it came from)."""
    done = threading.Event()

    def peer():
        while not done.wait(0.1):
            speak_plain(port)

    thread = threading.Thread(target=peer)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
