# SPDX-License-Identifier: Apache-2.0
"""What the parts of bench/run share: hubs in folders of their own, processor time, questions."""
import contextlib
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.environ.get("WEIR_BUILD", os.path.join(ROOT, "build"))
CACHE = os.path.join(BUILD, "bench-data")
TICKS = os.sysconf("SC_CLK_TCK")


def tool(name):
    path = os.path.join(BUILD, "bench", name)
    if not os.path.exists(path):
        sys.exit(f"{path} is missing; make it with: ninja -C {BUILD} bench/{name}")
    return path


def need_descriptors(n, why):
    """At least n for this process and those it starts, or the end."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < n:
        sys.exit(f"{why} needs {n} descriptors a process and {hard} are allowed; "
                 f"raise the limit (ulimit -Hn {n}) or take fewer (--probes)")
    if soft < n or soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def cpu_of(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_of(pid, row):
    """KB of one row of /proc/PID/status: VmRSS, VmHWM."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        for line in file:
            if line.startswith(row):
                return int(line.split()[1])
    return 0


def descriptors_of(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def percentile(values, p):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * p / 100))] if values else float("nan")


def issue_licence(path):
    """For more probes than any bench has, signed with the evaluation key."""
    with tempfile.NamedTemporaryFile("w", prefix="weir-bench-") as passphrase:
        passphrase.write("evaluation\n")
        passphrase.flush()
        subprocess.run([os.path.join(BUILD, "weir-license"), "issue", "--key",
                        os.path.join(ROOT, "licences", "evaluation.key"), "--passphrase-file",
                        passphrase.name, "--kind", "cloud", "--customer", "Bench", "--probes", "100000",
                        "--expires", "30d", "-o", path], check=True)


class Hub:
    """A weir-hub in a folder of its own; start() again after stop() takes the same ports."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="weir-bench-")
        self.data, self.events, self.web = free_port(), free_port(), free_port()
        self.log = os.path.join(self.folder, "log")
        self.process = None
        issue_licence(f"{self.folder}/hub.license")

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [os.path.join(BUILD, "weir-hub"), "-i", f"tcp://127.0.0.1:{self.data}c",
                 "--zmq-publish-events", f"tcp://127.0.0.1:{self.events}",
                 "-w", f"127.0.0.1:{self.web}", "--disable-login", "-d", f"{self.folder}/data",
                 "--license", f"{self.folder}/hub.license"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return self

    def wait_ready(self):
        for _ in range(200):
            if self.process.poll() is not None:
                with open(self.log, errors="replace") as log:
                    sys.exit(f"the hub ended with {self.process.returncode}: {log.read()[-1000:]}")
            with contextlib.suppress(OSError, ValueError):
                if self.get("/health")["ok"]:
                    return self
            time.sleep(0.05)
        sys.exit("the hub does not answer")

    @property
    def pid(self):
        return self.process.pid

    @property
    def key(self):
        with open(os.path.join(self.folder, "data", "zmq-key.pub"), encoding="ascii") as file:
            return file.read().strip()

    def get(self, path, **query):
        url = f"http://127.0.0.1:{self.web}/api/v1{path}"
        if query:
            url += "?" + urllib.parse.urlencode(query)
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.load(answer)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(120)

    def disk_bytes(self):
        return sum(os.path.getsize(os.path.join(d, f))
                   for d, _, fs in os.walk(os.path.join(self.folder, "data")) for f in fs)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder)
