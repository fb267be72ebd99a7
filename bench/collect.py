# SPDX-License-Identifier: Apache-2.0
"""Collecting side by side with nfcapd and nfacctd: the highest rate without loss, processor time a
flow, memory; and the whole way to a hub's store."""
import contextlib
import glob
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from common import BUILD, Hub, cpu_of, free_port, memory_of, tool

SECONDS = 2  # of load, each try
RATES = [0.5e6, 1e6, 1.5e6, 2e6, 3e6, 4e6, 5e6, 6e6]
RUN = 64     # datagrams that go to the kernel as one, at most; 1: each by itself
STEADY = 2e6  # where processor time is compared
QUIET = 2e5   # and where a wake has little to do
KINDS = {"5": "v5", "9": "v9", "ipfix": "IPFIX", "sflow": "sFlow"}


class Collector:
    """A collector on a port of its own; what it says at the end is in its folder."""

    def __init__(self, kind):
        self.kind = kind
        self.folder = tempfile.mkdtemp(prefix="weir-bench-")
        self.port = free_port()

    def __enter__(self):
        log = os.path.join(self.folder, "log")
        with open(log, "wb") as out:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                            cwd=self.folder)
        for _ in range(100):  # until the port is taken
            time.sleep(0.05)
            if self.process.poll() is not None:
                with open(log, errors="replace") as file:
                    sys.exit(f"{self.command()[0]} ended: {file.read()[-500:]}")
            with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.bind(("127.0.0.1", self.port))
                continue
            break
        time.sleep(0.3)
        return self

    def pids(self):
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as file:
            return [self.process.pid] + [int(p) for p in file.read().split()]

    def load(self, rate, flows, exporters=1, run=1):
        """What was sent; processor time of the collector for it, and its most memory in MB."""
        pids = self.pids()
        before = sum(cpu_of(p) for p in pids)
        out = subprocess.run([tool("exporter"), "-v", self.kind, "-r", str(int(rate)), "-n", str(int(flows)), "-e",
                              str(exporters), "-b", str(run), "127.0.0.1", str(self.port)], stdout=subprocess.PIPE, check=True)
        time.sleep(1)
        return (json.loads(out.stdout), sum(cpu_of(p) for p in pids) - before,
                sum(memory_of(p, "VmHWM") for p in pids) / 1024)

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(120)


class Weir(Collector):
    name = "weir-probe, read and summed up"

    def command(self):
        return [os.path.join(BUILD, "weir-probe"), "--collector-port", f"127.0.0.1:{self.port}", "--json", "none",
                "--counters", "counters"]

    def flows(self, sent):
        """How many were read, and whether each field was."""
        self.stop()
        with open(os.path.join(self.folder, "counters"), encoding="ascii") as file:
            text = file.read()
        flows = int(re.search(r"^weir_probe_collect_flows_total (\d+)$", text, re.M)[1])
        checksum = re.search(r"^weir_probe_collect_checksum (\d+)$", text, re.M)[1]
        if flows == sent["flows"] and checksum != sent["checksum"]:
            sys.exit(f"{self.kind}: every flow was read, and the checksum is {checksum}, not {sent['checksum']}")
        return flows


class Nfcapd(Collector):
    name = "nfcapd, raw files"

    def command(self):
        program = "sfcapd" if self.kind == "sflow" else "nfcapd"
        return [program, "-b", "127.0.0.1", "-p", str(self.port), "-l", self.folder, "-t", "3600", "-B", "8388608"]

    def flows(self, sent):
        self.stop()
        files = [f for f in glob.glob(os.path.join(self.folder, "*capd.*")) if "current" not in f]
        n = 0
        for file in files:
            out = subprocess.run(["nfdump", "-r", file, "-I"], capture_output=True, text=True, check=False)
            n += sum(int(m) for m in re.findall(r"^Flows: (\d+)", out.stdout, re.M))
        return n


class Nfacctd(Collector):
    name = "nfacctd, print of 5-tuples"

    def command(self):
        program = "sfacctd" if self.kind == "sflow" else "nfacctd"
        with open(os.path.join(self.folder, "conf"), "w", encoding="ascii") as file:
            file.write(f"{program}_ip: 127.0.0.1\n{program}_port: {self.port}\n{program}_pipe_size: 8388608\n"
                       "plugins: print\nprint_output: csv\nprint_output_file: out.csv\n"
                       "aggregate: src_host,dst_host,src_port,dst_port,proto,flows\n"
                       "print_refresh_time: 3600\nprint_cache_entries: 131071\n"
                       "plugin_pipe_size: 67108864\nplugin_buffer_size: 65536\n")
        return [program, "-f", "conf"]

    def flows(self, sent):
        """By what it has written: flows of NetFlow, packets of sFlow."""
        path = os.path.join(self.folder, "out.csv")
        self.process.send_signal(signal.SIGINT)
        self.process.wait(120)
        size = -1
        for _ in range(30):  # its writer, a process of its own, goes on
            time.sleep(1)
            before, size = size, os.path.getsize(path) if os.path.exists(path) else 0
            if size and size == before:
                break
        if not size:
            return 0
        with open(path, encoding="ascii", errors="replace") as file:
            head = file.readline().strip().split(",")
            column = head.index("FLOWS" if "FLOWS" in head and self.kind != "sflow" else "PACKETS")
            return sum(int(line.split(",")[column]) for line in file)


PEERS = ((Nfcapd, "nfcapd", "sfcapd"), (Nfacctd, "nfacctd", "sfacctd"))


def programs_for(kind):
    """weir's and those of the others that are installed."""
    return [Weir] + [p for p, netflow, sflow in PEERS if shutil.which(sflow if kind == "sflow" else netflow)]


def one(program, kind, rate, run, seconds=SECONDS):
    with program(kind) as collector:
        sent, cpu, peak = collector.load(rate, rate * seconds, run=run)
        return sent, cpu, peak, collector.flows(sent)


def clean_rate(program, kind):
    """The highest of RATES that loses nothing, and what the sender made of it."""
    best = 0.0
    for rate in RATES:
        sent, _, _, flows = one(program, kind, rate, RUN)
        if flows != sent["flows"]:
            break
        best = max(best, sent["flows"] / sent["seconds"])
        if best < 0.9 * rate:  # the sender can no more
            break
    return best


def bench_collect(args):
    kinds = args.kinds.split(",")
    cpu = {}
    for _ in range(args.rounds):
        for kind in kinds:
            steady = STEADY if kind != "sflow" else STEADY / 2
            for program in programs_for(kind):
                for way, rate, run in (("quiet", QUIET, 1), ("each", steady, 1), ("runs", steady, RUN)):
                    sent, used, peak, flows = one(program, kind, rate, run)
                    cpu.setdefault((kind, program, way), []).append(
                        (used / sent["flows"] * 1e6, peak, flows / sent["flows"]))
    print("\nCollecting over loopback, 100,000 distinct flows of one exporter, full datagrams; processor time of the "
          f"collector alone, median of {args.rounds} interleaved runs; joined: up to {RUN} datagrams go to the kernel "
          "as one:\n")
    print("| exports | collector | highest rate without loss, joined, M/s | us a flow at 2 M/s (sFlow 1 M/s), each by "
          "itself | the same, joined | us a flow at 0.2 M/s, each by itself | peak MB | got at 2 M/s, each, joined |\n"
          "|---|---|---|---|---|---|---|---|")
    for kind in kinds:
        for program in programs_for(kind):
            each, runs, quiet = (cpu[kind, program, way] for way in ("each", "runs", "quiet"))
            times = " | ".join(f"{statistics.median(r[0] for r in rows):.3f}" for rows in (each, runs, quiet))
            print(f"| {KINDS[kind]} | {program.name} | {clean_rate(program, kind) / 1e6:.2f} | {times} | "
                  f"{max(r[1] for r in each + runs):.0f} | {min(r[2] for r in each) * 100:.1f} %, "
                  f"{min(r[2] for r in runs) * 100:.1f} % |", flush=True)
    if not args.no_store:
        to_the_store()


def wait_until_stored(hub, flows, seconds):
    """How many the hub has at the end, and how long that took."""
    begun, last, since = time.time(), -1, time.time()
    while time.time() - begun < seconds:
        n = sum(p["flows_stored"] for p in hub.get("/probes"))
        if n >= flows:
            return n
        if n != last:
            last, since = n, time.time()
        elif time.time() - since > 8:
            return n
        time.sleep(0.2)
    return last


def counters_of(path):
    with open(path, encoding="ascii") as file:
        return {m[0]: int(m[1]) for m in re.findall(r"^(\S+) (\d+)$", file.read(), re.M)}


def to_the_store():
    """weir-probe and weir-hub on the same two cores: where the time of a flow goes."""
    print("\nThe whole way, NetFlow v9 to committed rows, probe and hub on the same cores:\n")
    print("| flows/s sent | dropped at the export | probe us a flow | hub us a flow | stored |\n|---|---|---|---|---|")
    for rate in (1e5, 2e5, 3e5, 5e5):
        with Hub() as hub:
            hub.start().wait_ready()

            class ToHub(Weir):
                def command(self):
                    return [*super().command(), "--ntopng", f"tcp://127.0.0.1:{hub.data}", "--zmq-publish-events",
                            f"tcp://127.0.0.1:{hub.events}", "--zmq-probe-mode", "--zmq-encryption-key", hub.key,
                            "--data-dir", "state", "--unprivileged-user", "root"]

            with ToHub("9") as probe:
                time.sleep(2)
                before = cpu_of(hub.pid)
                sent, cpu, _ = probe.load(rate, rate * 5)
                probe_cpu = cpu
                pids = probe.pids()
                begun = sum(cpu_of(p) for p in pids)
                stored = wait_until_stored(hub, sent["flows"], 60)
                probe_cpu += sum(cpu_of(p) for p in pids) - begun
                hub_cpu = cpu_of(hub.pid) - before
                probe.stop()
                counts = counters_of(os.path.join(probe.folder, "counters"))
                dropped = counts['weir_probe_flows_dropped_total{reason="export_queue"}']
                print(f"| {sent['flows'] / sent['seconds']:,.0f} | {dropped / sent['flows'] * 100:.1f} % | "
                      f"{probe_cpu / sent['flows'] * 1e6:.2f} | {hub_cpu / max(stored, 1) * 1e6:.2f} | "
                      f"{stored / sent['flows'] * 100:.1f} % |", flush=True)
