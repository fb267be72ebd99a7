# SPDX-License-Identifier: Apache-2.0
"""What delivery costs: processor time a megabyte of each side, and bytes on the wire a flow."""
import json
import os
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import threading

from common import BUILD, Hub, free_port, tool

ROUNDS = 5
PACE_MS = 200  # a probe sends what it has as often when there is less than a full batch
PACED_BATCHES = 50
FULL_FLOWS = 200000


# --------------------------------------------------------------------------------- throughput

def bench_throughput(args):
    results = {}

    def run(name, fields, *command):
        with tempfile.TemporaryDirectory(prefix="weir-bench-", dir=args.disk) as folder:
            out = subprocess.run([tool(command[0]), folder, *command[1:]], stdout=subprocess.PIPE, check=True)
        results.setdefault((name, fields), []).append(json.loads(out.stdout))

    megabytes = str(args.megabytes)
    for _ in range(ROUNDS):
        run("bare libzmq and files", "", "bare", megabytes)
        for packing, *behind in (("plain",), ("plain", "behind"), ("zstd",)):
            for fields in ("v9", "all"):
                run(", ".join([packing, *behind]), fields, "deliver", packing, fields, megabytes, *behind)
    print(f"\nSpool, channel and acknowledgement without a store, {args.megabytes} MB of IPFIX in full batches, "
          f"median of {ROUNDS} interleaved runs:\n")
    print("| batches | fields | MB/s | probe CPU ms/MB | hub CPU ms/MB | sent, part of it |\n|---|---|---|---|---|---|")
    for (packing, fields), runs in results.items():
        def median(what, runs=runs):
            return statistics.median(what(r) for r in runs)
        print(f"| {packing} | {fields} | {median(lambda r: r['mb'] / r['s']):.0f} | "
              f"{median(lambda r: r['probe_ms_mb']):.2f} | {median(lambda r: r['hub_ms_mb']):.2f} | "
              f"{median(lambda r: r['sent_part']):.2f} |")
    if any(r["resent"] for runs in results.values() for r in runs):
        print("\nSome batches were sent twice, which is in these figures.")


# ------------------------------------------------------------------------------ bytes on the wire

class Relay:
    """Stands between a probe and one port of the hub and counts what goes by, both ways."""

    def __init__(self, port):
        self.port, self.to_hub, self.to_probe = free_port(), 0, 0
        self.target = port
        self.listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        pairs, ways = {}, {}
        while True:
            for ready in select.select([self.listener, *pairs], [], [])[0]:
                if ready is self.listener:
                    probe = self.listener.accept()[0]
                    hub = socket.create_connection(("127.0.0.1", self.target))
                    for each in (probe, hub):
                        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    pairs.update({probe: hub, hub: probe})
                    ways.update({probe: "to_hub", hub: "to_probe"})
                elif ready in pairs:
                    self.pass_on(ready, pairs, ways)

    def pass_on(self, ready, pairs, ways):
        try:
            data = ready.recv(1 << 18)
            if data:
                pairs[ready].sendall(data)
                setattr(self, ways[ready], getattr(self, ways[ready]) + len(data))
                return
        except OSError:
            pass
        other = pairs.pop(ready)
        pairs.pop(other, None)
        ready.close()
        other.close()


class Wire:
    """A probe's two ways to the hub, each through a relay."""

    def __init__(self, hub):
        self.data, self.events = Relay(hub.data), Relay(hub.events)
        self.endpoints = [f"tcp://127.0.0.1:{self.data.port}", f"tcp://127.0.0.1:{self.events.port}"]

    def bytes(self):
        return (self.data.to_hub + self.events.to_hub, self.data.to_probe + self.events.to_probe)


def real_flows(capture, hub, folder):
    """The flows of a capture in a spool whose hub nobody ever reached."""
    spool = os.path.join(folder, "probe")
    log = os.path.join(folder, "probe.log")
    with open(log, "w") as out:
        done = subprocess.run([os.path.join(BUILD, "weir-probe"), "-i", capture, "--data-dir", spool,
                               "--ntopng", f"tcp://127.0.0.1:{free_port()}", "--zmq-probe-mode",
                               "--zmq-encryption-key", hub.key, "--exit-timeout", "1",
                               "--dont-drop-privileges"],
                              stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    if done.returncode != 3:
        with open(log, errors="replace") as out:
            sys.exit(f"weir-probe: exit {done.returncode}: {out.read()[-2000:]}")
    return spool


def feed(hub, spool, fields, flows, a_batch, pace):
    wire = Wire(hub)
    process = subprocess.Popen([tool("feed"), *wire.endpoints, hub.key, str(flows), str(a_batch), fields, spool,
                                *([str(PACE_MS)] if pace else [])],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return wire, process


def tell(name, wire, process):
    fed = json.loads(process.communicate(timeout=300)[0])
    if process.returncode or fed["left"]:
        sys.exit(f"{name}: {fed}")
    up, down = wire.bytes()
    n = fed["flows"]
    print(f"| {name} | {fed['ipfix_bytes'] / n:.0f} | {fed['payload_bytes'] / n:.1f} | {up / n:.1f} | "
          f"{down / n:.1f} | {(up + down) / n:.1f} |")


def bench_wire(capture):
    with Hub() as hub, tempfile.TemporaryDirectory(prefix="weir-bench-") as folder:
        hub.start().wait_ready()
        spool = real_flows(capture, hub, folder)
        print(f"\nTCP payload a stored flow, counted by a relay between probe and hub, handshakes included. Batches that "
              f"are not full go every {PACE_MS} ms, {PACED_BATCHES} of them:\n")
        print("| flows | fields, flows a batch | IPFIX | batches | to the hub | to the probe | both |\n"
              "|---|---|---|---|---|---|---|")
        kinds = [(name, source, fields) for name, source in (("captured", spool), ("made up", "-"))
                 for fields in ("v9", "all")]
        paced = [(*kind, n) for kind in kinds for n in (10, 50, 350)]
        runs = [feed(hub, source, fields, n * PACED_BATCHES, n, True) for _, source, fields, n in paced]
        for (name, _, fields, n), run in zip(paced, runs):
            tell(f"{name} | {fields}, {n}", *run)
        for name, source, fields in kinds:
            tell(f"{name} | {fields}, full", *feed(hub, source, fields, FULL_FLOWS, 4000, False))
        hub.stop()
