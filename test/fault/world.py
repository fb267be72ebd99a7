# SPDX-License-Identifier: Apache-2.0
"""The world of the campaign: a hub and sites, each in a network namespace of its own, joined by a
switch whose ports can be taken off; disks of their own (tmpfs); the shim in every program."""
import itertools
import json
import mmap
import os
import shutil
import signal
import struct
import subprocess
import sys
import time

import ledger
from _e2e import HUB, PROBE, BUILD, Failure, Program, check, in_namespace, wait_for

SHIM = os.path.join(BUILD, "test", "fault", "libfault.so")
HERE = os.path.dirname(os.path.abspath(__file__))
HUB_ADDRESS = "10.99.0.1"
WEB_PORT = 3000
CLONES = 100  # a clone of site 2 is site 102

# as in shim.c
CONTROL = {name: (at, form) for name, at, form in [
    ("clock_step_ms", 0, "<q"), ("write_errno", 8, "<i"), ("write_n", 12, "<i"),
    ("sync_errno", 16, "<i"), ("sync_n", 20, "<i"), ("sync_delay_ms", 24, "<i"),
    ("crash", 28, "<i"), ("garbage_n", 32, "<i"), ("done", 36, "<i"), ("suffix", 40, "16s")]}
CONTROL_BYTES = 56
CRASH_AFTER_UNLINK, CRASH_BEFORE_SYNC, CRASH_AFTER_SYNC, CRASH_IN_WRITE = 1, 2, 3, 4


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    check(done.returncode == 0, f"{' '.join(command)}: {done.stderr}")


class Control:
    """The page that the shim of one machine looks at"""

    def __init__(self, path):
        with open(path, "wb") as file:
            file.write(bytes(4096))
        self.path = path
        with open(path, "r+b") as file:
            self.page = mmap.mmap(file.fileno(), 4096)

    def set(self, **members):
        for name, value in members.items():
            at, form = CONTROL[name]
            struct.pack_into(form, self.page, at, value)

    def get(self, name):
        at, form = CONTROL[name]
        return struct.unpack_from(form, self.page, at)[0]

    def calm(self):
        """No fault but the clock's"""
        self.set(write_n=0, sync_n=0, sync_delay_ms=0, crash=0, garbage_n=0, suffix=b"")


class Machine:
    """A program with a disk, a network and a shim; started and ended again and again"""

    def __init__(self, world, name, disk_bytes):
        self.world, self.name = world, name
        self.folder = world.lab.path(name)
        os.mkdir(self.folder)
        self.disk_bytes = disk_bytes
        run("mount", "-t", "tmpfs", "-o", f"size={disk_bytes}", "tmpfs", self.folder)
        world.mounts.append(self.folder)
        self.control = Control(world.lab.path(name + ".control"))
        self.namespace = None
        self.program = None
        self.log_path = world.lab.path(name + ".log")
        self.starts = 0

    def begin(self, command, environment):
        self.starts += 1
        environment = [f"{k}={v}" for k, v in {
            "LD_PRELOAD": SHIM, "FAULT_CONTROL": self.control.path, **environment}.items()]
        self.program = Program(self.name, ["env", *environment, *command], self.log_path,
                               self.namespace)
        self.world.lab.programs.append(self.program)

    def running(self):
        return self.program is not None and self.program.running()

    def signal(self, number):
        if self.running():
            self.program.process.send_signal(number)

    def kill(self):
        if self.program:
            self.program.kill()
            self.program.log_file.close()
            self.world.lab.programs.remove(self.program)
            self.program = None

    def stop(self, limit_s=120):
        """SIGTERM; the exit code"""
        self.signal(signal.SIGCONT)
        code = self.program.stop(limit_s)
        self.kill()
        return code

    def died(self, limit_s):
        """Whether it ended by itself within that time"""
        end = time.monotonic() + limit_s
        while self.running() and time.monotonic() < end:
            time.sleep(0.02)
        return not self.running()

    def fill_disk(self, leave_bytes=0):
        """The disk becomes as small as what lies on it"""
        for _ in range(50):
            room = os.statvfs(self.folder)
            used = (room.f_blocks - room.f_bfree) * room.f_frsize
            if self.resize(used + max(leave_bytes, 4096)):
                return
        raise Failure(f"{self.name}: its disk does not become full")

    def empty_disk(self):
        check(self.resize(self.disk_bytes), f"{self.name}: its disk does not become larger")

    def resize(self, size):
        return subprocess.run(["mount", "-o", f"remount,size={size}", self.folder],
                              capture_output=True).returncode == 0


class HubMachine(Machine):
    def __init__(self, world):
        super().__init__(world, "hub", 2 << 30)
        self.namespace = world.lab.namespace()
        self.data = os.path.join(self.folder, "data")
        os.mkdir(self.data)
        self.backup = None

    def start(self, wait=True):
        self.begin([HUB, "-i", f"tcp://{HUB_ADDRESS}:5556c", "--zmq-publish-events",
                    f"tcp://{HUB_ADDRESS}:5557", "--data-dir", self.data, "-w", str(WEB_PORT),
                    "--disable-login", "--license", self.world.lab.licence()], {"FAULT_FOLDER": self.data})
        if wait:
            wait_for("the hub answers", self.answers, 60)

    def answers(self):
        check(self.running(), "the hub ended")
        return self.get("/health")["ok"]

    def get(self, path):
        status, answer = self.ask("GET", path)
        if status != 200:
            raise OSError(f"GET {path}: {status} {answer}")
        return answer

    def ask(self, method, path, body=None):
        """Status and JSON; OSError when the hub does not answer"""
        command = ["curl", "-s", "-m", "20", "-X", method, "-w", "\n%{http_code}",
                   f"http://127.0.0.1:{WEB_PORT}/api/v1{path}"]
        if body is not None:
            command += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
        done = subprocess.run(in_namespace(self.namespace, command), capture_output=True)
        answer, _, status = done.stdout.rpartition(b"\n")
        if done.returncode:
            raise OSError(f"{method} {path}: curl {done.returncode} {answer[-300:]!r}")
        return int(status), json.loads(answer)


class Site(Machine):
    def __init__(self, world, number, namespace, interface, spool_size):
        super().__init__(world, f"site{number}", 96 << 20)
        self.number, self.namespace, self.interface = number, namespace, interface
        self.spool_size = spool_size
        self.spool = os.path.join(self.folder, "spool")
        self.state = os.path.join(self.folder, "state")
        self.limbo = os.path.join(self.folder, "limbo")
        self.ledger = world.lab.path(f"ledger/{self.name}")
        os.makedirs(self.ledger)
        for folder in (self.spool, self.state, self.limbo):
            os.mkdir(folder)

    def start(self):
        book = os.path.join(self.ledger, f"{len(ledger.runs(self.ledger)):04d}")
        os.mkdir(book)
        for name in os.listdir(self.limbo):
            os.unlink(os.path.join(self.limbo, name))
        self.begin([PROBE, "-i", self.interface, "-d", "1", "-t", "60", "--no-dpi",
                    "--ring-size", "32M", "--dont-drop-privileges", "--no-seccomp", "--data-dir", self.state, "--spool-dir", self.spool,
                    "--spool-size", self.spool_size, "--probe-name", self.name,
                    "--exit-timeout", "110", "--ntopng", f"tcp://{HUB_ADDRESS}:5556",
                    "--zmq-publish-events", f"tcp://{HUB_ADDRESS}:5557", "--zmq-probe-mode",
                    "--zmq-encryption-key", self.world.key],
                   {"FAULT_FOLDER": self.spool, "FAULT_LEDGER": book, "FAULT_LIMBO": self.limbo})

    def restart(self):
        """After it died: everything is as the campaign left it"""
        self.kill()
        self.control.calm()
        self.empty_disk()
        self.start()


class World:
    def __init__(self, lab, n_sites, limited_site):
        self.lab, self.mounts, self.key = lab, [], None
        self.sites, self.clones = [], []
        self.address = itertools.count(10)
        self.switch = lab.namespace()
        self.sender = lab.namespace()
        self.excuses = None
        run("ip", "-n", self.switch, "link", "add", "switch", "type", "bridge")
        run("ip", "-n", self.switch, "link", "set", "switch", "up")
        try:
            self.build(n_sites, limited_site)
        except BaseException:
            self.close()
            raise

    def build(self, n_sites, limited_site):
        self.hub = HubMachine(self)
        self.plug(self.hub.namespace, "hub", HUB_ADDRESS)
        self.hub.start()
        self.key = self.hub.get("/interfaces/1")["key_string"]
        wires = []
        for number in range(1, n_sites + 1):
            namespace = self.lab.namespace()
            self.plug(namespace, f"site{number}", f"10.99.0.{10 + number}")
            for site, interface in ((number, "eno1"), (CLONES + number, "eno2")):
                self.lab.cable((namespace, interface, None), (self.sender, f"wire{site}", None))
                wires.append(f"wire{site}={site}")
            self.sites.append(Site(self, number, namespace, "eno1",
                                   "1M" if number == limited_site else "64M"))
        self.generator = subprocess.Popen(
            in_namespace(self.sender, [sys.executable, os.path.join(HERE, "generate.py"), *wires]),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for site in self.sites:
            site.start()

    def plug(self, namespace, name, address):
        self.lab.cable((self.switch, name, None), (namespace, "uplink", f"{address}/24"))
        self.connect(name)

    def connect(self, *names):
        for name in names:
            run("ip", "-n", self.switch, "link", "set", name, "master", "switch")

    def disconnect(self, *names):
        """Packets go nowhere, and nobody is told"""
        for name in names:
            run("ip", "-n", self.switch, "link", "set", name, "nomaster")

    def tell(self, line):
        self.generator.stdin.write(line + "\n")
        self.generator.stdin.flush()

    def sent(self):
        self.tell("sent")
        return int(self.generator.stdout.readline())

    def clone(self, site):
        """The same key and spool once more, on another interface"""
        twin = Site(self, CLONES + site.number, site.namespace, "eno2", site.spool_size)
        for name in ("state", "spool"):
            shutil.copytree(getattr(site, name), getattr(twin, name), dirs_exist_ok=True)
        ledger.settle(twin.ledger, twin.spool)
        self.clones.append(twin)
        twin.start()
        return twin

    def fetch(self, *more):
        """What the hub has: (file of flows, gaps and probes)"""
        path = self.lab.path("stored")
        done = subprocess.run(in_namespace(self.hub.namespace, [
            sys.executable, os.path.join(HERE, "fetch.py"), str(WEB_PORT), path, *more]),
            capture_output=True, text=True)
        if done.returncode:
            raise Failure(f"fetch.py: {done.stderr}")
        return path, json.loads(done.stdout)

    def booked(self):
        """The ledger of all sites"""
        found = {}
        for site in [*self.sites, *self.clones]:
            for place, batch in ledger.booked(site.ledger).items():
                if place not in found:  # a clone has its original's as well
                    batch.site = site.number % CLONES
                    found[place] = batch
        return found

    def close(self):
        if hasattr(self, "generator"):
            self.generator.stdin.close()
            self.generator.wait(10)
        for machine in [self.hub, *self.sites, *self.clones] if hasattr(self, "hub") else []:
            machine.kill()
        for folder in self.mounts:
            for _ in range(50):
                if subprocess.run(["umount", folder], capture_output=True).returncode == 0:
                    break
                time.sleep(0.1)
