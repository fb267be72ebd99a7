# SPDX-License-Identifier: Apache-2.0
"""Many probes on one hub: what each costs, how soon all are back, what one that stalls does to the others."""
import contextlib
import json
import signal
import subprocess
import sys
import threading
import time

from common import (Hub, cpu_of, descriptors_of, memory_of, need_descriptors, percentile, tool)

MARKED = 100          # probes that deliver flows of which we ask when they can be found
MARK_PORT = 61234     # as in crowd.c
BATCH_FLOWS = 20      # as in crowd.c
POLL_S = 0.1
STALLED_MS = 10       # between two batches of the probe that is going to stall: 35,000 flows/s
SPARE_DESCRIPTORS = 1000
LATER_S = 300           # each queue of libzmq has gone round its two chunks of 256 messages


class Crowd:
    """bench/crowd, and the last line that it has said."""

    def __init__(self, data_port, events_port, key, probes, pulses):
        self.last = {}
        self.process = subprocess.Popen(
            [tool("crowd"), str(data_port), str(events_port), key, str(probes), pulses,
             str(min(MARKED, probes))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.probes = probes
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.last = json.loads(line)

    def tell(self, command):
        self.process.stdin.write(command)
        self.process.stdin.flush()

    def wait_synced(self, limit_s, flows=0):
        """Seconds until every one has its session, so many flows were handed over and none waits any more."""
        begin = time.monotonic()
        while time.monotonic() < begin + limit_s:
            if self.process.poll() is not None:
                sys.exit("the crowd ended")
            last = self.last
            if last.get("synced") == self.probes and last["flows"] >= flows and not last["backlog"]:
                return time.monotonic() - begin
            time.sleep(0.05)
        sys.exit(f"not all are connected within {limit_s} s: {self.last}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def latencies(hub, window_s, tail_s=9):
    """Milliseconds from handing over to being found, of every marked flow of a while."""
    begin_ms = time.time_ns() // 1000000
    end_ms = begin_ms + int(window_s * 1000)
    found = {}
    while time.time_ns() // 1000000 < end_ms + tail_s * 1000:
        answer = hub.get("/flows", **{"from": max(begin_ms, time.time_ns() // 1000000 - 20000),
                                      "filter": f"dst_port = {MARK_PORT}", "limit": 1000})
        now_ms = time.time_ns() // 1000000
        for flow in answer["flows"]:
            if flow["last_ms"] < end_ms:
                found.setdefault(flow["flow_id"], now_ms - flow["last_ms"])
        time.sleep(POLL_S)
    return list(found.values())


@contextlib.contextmanager
def stalled(hub):
    """A probe with much to say that stops in the middle of it, connected and deaf."""
    feed = subprocess.Popen([tool("feed"), f"tcp://127.0.0.1:{hub.data}",
                             f"tcp://127.0.0.1:{hub.events}", hub.key, "1000000000", "350", "v9",
                             "-", str(STALLED_MS)],
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    def counts(limit_s, enough, what):
        for _ in range(limit_s * 5):
            time.sleep(0.2)
            for probe in hub.get("/probes"):
                if probe["name"] == "feed" and enough(probe["flows_received"], probe["flows_stored"]):
                    return
        sys.exit(f"the probe that is to stall: not within {limit_s} s {what}")

    try:
        counts(30, lambda received, stored: received > 0, "heard")
        feed.send_signal(signal.SIGSTOP)
        # to store what it had sent is work and no stall
        counts(60, lambda received, stored: received == stored, "stored")
        yield
    finally:
        feed.kill()
        feed.wait()


def steady(hub, crowd, seconds):
    cpu, pulses, begin = cpu_of(hub.pid), crowd.last["pulses"], time.monotonic()
    time.sleep(seconds)
    spent = time.monotonic() - begin
    return (cpu_of(hub.pid) - cpu) / spent, (crowd.last["pulses"] - pulses) / spent


def bench_scale(args):
    n = args.probes
    need_descriptors(2 * n + SPARE_DESCRIPTORS, f"a hub with {n} probes")
    rows = []
    with Hub() as hub:
        hub.start().wait_ready()
        time.sleep(2 * args.pace)
        idle_kb, idle_fds = memory_of(hub.pid, "VmRSS"), descriptors_of(hub.pid)
        with Crowd(hub.data, hub.events, hub.key, n, "busy" if args.busy else "quiet") as crowd:
            rows.append(("all of them new: s until every one is admitted and heard",
                         f"{crowd.wait_synced(180):.1f}", ""))
            time.sleep(10 * args.pace)
            cpu, pulses = steady(hub, crowd, 10 * args.pace)
            rows.append(("descriptors a probe", f"{(descriptors_of(hub.pid) - idle_fds) / n:.2f}", "2"))
            grown = memory_of(hub.pid, "VmRSS") - idle_kb
            rows.append(("memory a probe above idle, KB", f"{grown / n:.0f}", "100"))
            rows.append((f"CPU with heartbeats and pulses ({crowd.last['pulse_bytes']} bytes a second each), "
                         "% of a core", f"{cpu * 100:.0f}", ""))
            rows.append(("the same a pulse, us", f"{cpu / pulses * 1e6:.0f}", ""))
            time.sleep(LATER_S * args.pace)
            grown = memory_of(hub.pid, "VmRSS") - idle_kb
            rows.append((f"memory a probe {LATER_S * args.pace:.0f} s later, KB", f"{grown / n:.0f}", "100"))
            crowd.tell("b")
            rows.append(("each delivers a batch at once: s until all are stored",
                         f"{crowd.wait_synced(120, n * BATCH_FLOWS):.1f}", ""))
            grown = memory_of(hub.pid, "VmRSS") - idle_kb
            rows.append(("memory a probe with what the store took for them, KB", f"{grown / n:.0f}", ""))

            hub.stop()
            time.sleep(5 * args.pace)  # the probes' pauses between two tries grow to their longest
            hub.start()
            back_s = crowd.wait_synced(120)
            rows.append(("restart: s from the hub's start until all are back", f"{back_s:.1f}", "15"))
            rows.append(("CPU s of the hub until then", f"{cpu_of(hub.pid):.1f}", ""))
            rows.append(("and of the crowd since it began", f"{cpu_of(crowd.process.pid):.1f}", ""))
            time.sleep(10 * args.pace)
            grown = memory_of(hub.pid, "VmRSS") - idle_kb
            rows.append(("memory a probe after the restart, KB",
                         f"{grown / n:.0f}", "100"))

            crowd.tell("m")
            time.sleep(6 * args.pace)
            calm = latencies(hub, 15 * args.pace)
            with stalled(hub):
                other = latencies(hub, 15 * args.pace)
            crowd.tell("n")
            p50, p99 = percentile(calm, 50), percentile(calm, 99)
            rows.append((f"commit to queryable, p50 / p99 of {len(calm)} flows, s",
                         f"{p50 / 1000:.2f} / {p99 / 1000:.2f}", ""))
            rows.append((f"the same of {len(other)} flows while another probe stalls",
                         f"{percentile(other, 50) / 1000:.2f} / {percentile(other, 99) / 1000:.2f}", ""))
            rows.append(("change of p99, %", f"{(percentile(other, 99) / p99 - 1) * 100:+.1f}", "10"))
            if crowd.last["malformed"]:
                sys.exit(f"{crowd.last['malformed']} states could not be read")
            if not calm or not other:
                sys.exit("no marked flow was found")
            hub.process.kill()  # before the crowd: to take leave of thousands takes it long
    print(f"\n{n:,} probes on one hub, all on one machine:\n")
    print("| what | measured | at most |\n|---|---|---|")
    for row in rows:
        print("| {} | {} | {} |".format(*row))
