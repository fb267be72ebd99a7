#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# time limit: 480 s
"""The probe's spool on disk: what it holds outlives the probe, goes to the hub exactly once, and is
an IPFIX file for others. What was written is read here from the segments, apart from the probe."""
import glob
import json
import os
import random
import shutil
import struct
import subprocess
import threading
import time

from _e2e import BUILD, check, free_ports, in_namespace, main, same, wait_for
from _feed import Feed, exactly_once, flows_between, numbers, total

HEAD = struct.Struct(">4sBBH16sQQ3Q3QII")  # of src/spool/record.h, behind the two words of zstd


def away(hub):
    """Options for a probe; the hub is stopped."""
    options = hub.options_for_probe()
    same(hub.stop(), 0, "the hub ends with")
    return options


def spool_of(lab, name):
    return lab.path(os.path.join(name, "spool"))


def heads(folder):
    """(epoch, sequence, counts, totals) of every record of every segment."""
    for path in sorted(glob.glob(os.path.join(folder, "*.ipfix.zst"))):
        with open(path, "rb") as file:
            data = file.read()
        at = 0
        while at + 8 + HEAD.size <= len(data):
            _, rest = struct.unpack_from("<II", data, at)
            tag, _, _, _, epoch, sequence, _, *numbers = HEAD.unpack_from(data, at + 8)
            end = at + 8 + rest + numbers[6]
            if tag != b"WSPL" or end > len(data):
                break
            yield epoch, sequence, tuple(numbers[:3]), tuple(numbers[3:6])
            at = end


def read_segments(folder):
    """The flows, as zstd and then a reader of IPFIX see them."""
    messages = b""
    for path in sorted(glob.glob(os.path.join(folder, "*.ipfix.zst"))):
        messages += subprocess.run(["zstd", "-dcq", path], capture_output=True).stdout
    parcel, at = b"", 0
    while at + 4 <= len(messages):
        size = struct.unpack_from(">H", messages, at + 2)[0]
        parcel += struct.pack(">IH", 1, size) + messages[at:at + size]
        at += size
    run = subprocess.run([os.path.join(BUILD, "src", "ipfix-tool"), "read"], input=parcel,
                         capture_output=True)
    rows = [json.loads(line) for line in run.stdout.splitlines()]
    return [row for row in rows if "src_ip" in row]


def test_killed_again_and_again(lab):
    hub = lab.hub()
    options = away(hub)
    draw, ledger, first = random.Random(7), set(), 1
    for _ in range(4):  # each with what the one before left
        feed = Feed(lab, first, *options, name="site")
        feed.flows(draw.randrange(2000, 30000))
        time.sleep(draw.random() / 2)
        feed.probe.kill()
        feed.end()
        first = feed.next
        ledger |= set(numbers(read_segments(spool_of(lab, "site"))))
    check(len(ledger) > 4000, f"{len(ledger)} flows written in four runs")

    hub.again()
    feed = Feed(lab, 1000001, *options, name="site")  # while live ones keep coming
    fed, latest = [], 0
    end = time.monotonic() + 8
    while time.monotonic() < end:
        feed.flows(1, to=b"\x0b\0\0\1")
        fed.append(time.monotonic())
        time.sleep(0.02)
        if len(fed) % 20 == 0:
            stored = hub.get("/flows", from_=0, to=2 ** 43, limit=1, filter="dst_ip = 11.0.0.1")
            if stored["total"] < len(fed):  # in order, so this is the oldest that waits
                latest = max(latest, time.monotonic() - fed[stored["total"]])
    check(latest < 10, f"a live flow took {latest:.1f} s")
    feed.end()
    same(feed.probe.wait(60), 0, "the probe ends with")
    ledger |= set(range(1000001, feed.next))
    stored = exactly_once(hub, ledger)
    extra = set(stored) - ledger
    check(not extra, f"{len(extra)} flows that were not in the spool: {sorted(extra)[:5]}")
    same(hub.get("/probes")[0]["flows_missing"], 0, "missing")
    check("flows of former runs wait in" in feed.probe.log(), "the log says what waits")
    same(glob.glob(os.path.join(spool_of(lab, "site"), "*.zst")), [], "segments left")
    print(f"      {len(ledger)} flows, a live one stored within {latest:.1f} s")


def test_older_copy_put_back(lab):
    hub = lab.hub()
    options = away(hub)
    feed = Feed(lab, 1, *options, name="site")
    feed.flows(5000)
    wait_for("the spool is written", lambda: len(read_segments(spool_of(lab, "site"))) > 4000)
    feed.probe.kill()
    feed.end()
    ledger = set(numbers(read_segments(spool_of(lab, "site"))))
    shutil.copytree(spool_of(lab, "site"), lab.path("copy"))
    hub.again()
    for _ in range(2):
        feed = Feed(lab, 100000, *options, name="site")
        feed.end()
        same(feed.probe.wait(60), 0, "the probe ends with")
        exactly_once(hub, ledger)
        same(total(hub), len(ledger), "flows stored")
        shutil.rmtree(spool_of(lab, "site"))
        shutil.copytree(lab.path("copy"), spool_of(lab, "site"))


def test_limit(lab):
    """The oldest goes; after a kill the next run announces exactly what went."""
    hub = lab.hub()
    options = away(hub)
    feed = Feed(lab, 1, *options, "--spool-size", "1M", "--exit-timeout", "1", name="site")
    feeder = threading.Thread(target=feed.flows, args=(150000,), daemon=True)
    feeder.start()  # a full spool holds it up for a second, then it goes on
    wait_for("the limit is reached", lambda: "let go" in feed.probe.log(), 60)
    feeder.join(60)
    wait_for("it stands still", lambda: len({(time.sleep(0.3), max(h[3][0] for h in heads(
        spool_of(lab, "site"))))[1] for _ in range(3)}) == 1)
    feed.probe.kill()
    feed.end()
    rows = list(heads(spool_of(lab, "site")))
    written, kept = rows[-1][3][0], sum(row[2][0] for row in rows)
    check(kept < written and len({row[0] for row in rows}) == 1, f"{kept} of {written} kept")
    hub.again()
    feed = Feed(lab, 1000000, *options, "--spool-size", "1M", name="site")
    feed.end()
    same(feed.probe.wait(60), 0, "the probe ends with")
    same(total(hub), kept, "flows stored")
    same(hub.get("/probes")[0]["flows_missing"], written - kept, "flows missing")


def test_disk_full(lab):
    """A disk that is full stops nothing; the next flows wait in memory."""
    hub = lab.hub()
    options = away(hub)
    folder = lab.path("small")
    os.mkdir(folder)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "weir", folder], check=True)
    try:
        feed = Feed(lab, 1, *options, "--spool-dir", os.path.join(folder, "spool"),
                    "--spool-size", "64M", name="site")
        feed.flows(50000)
        wait_for("the full disk is said", lambda: "No space left" in feed.probe.log())
        feed.flows(1000)
        check(feed.probe.running(), "the probe goes on")
        same(feed.probe.log().count("No space left"), 1, "said once")
        hub.again()
        feed.end()
        same(feed.probe.wait(90), 0, "the probe ends with")
        exactly_once(hub, range(1, 51001))
        same(hub.get("/probes")[0]["flows_missing"], 0, "missing")
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def two_hubs(lab):
    """Each with a key of its own, as each hub's command has it."""
    hubs = [lab.hub(name="first"), lab.hub(name="second")]
    check(hubs[0].key() != hubs[1].key(), "they have one key")
    return hubs


def test_two_hubs_share(lab):
    """What was meant for a hub goes to that hub, though the next run names them the other way
    round; of a hub that is no longer named, another gets it."""
    hubs = two_hubs(lab)
    options = [away(hub) for hub in hubs]
    feed = Feed(lab, 1, *options[0], *options[1], name="site")
    feed.flows(6000)
    feed.flows(1)
    wait_for("both have some", lambda: len(read_segments(spool_of(lab, "site"))) > 4000)
    feed.probe.kill()
    feed.end()
    ledger = set(numbers(read_segments(spool_of(lab, "site"))))
    shutil.copytree(spool_of(lab, "site"), lab.path("copy"))
    for hub in hubs:
        hub.again()
    feed = Feed(lab, 100000, *options[1], *options[0], name="site")
    feed.end()
    same(feed.probe.wait(60), 0, "the probe ends with")
    shares = [set(numbers(flows_between(hub, 1700000000000, 2 ** 43))) for hub in hubs]
    same(shares[0] | shares[1], ledger, "flows of both")
    check(not shares[0] & shares[1] and min(map(len, shares)) > 1000, "each has its own")

    shutil.rmtree(spool_of(lab, "site"))  # all of it again, and the second hub is gone
    shutil.copytree(lab.path("copy"), spool_of(lab, "site"))
    hubs[1].stop()
    feed = Feed(lab, 100000, *options[0], name="site")
    feed.end()
    same(feed.probe.wait(60), 0, "the probe ends with")
    exactly_once(hubs[0], ledger)
    same(hubs[0].get("/probes")[0]["flows_missing"], 0, "missing")
    check("no longer given" in feed.probe.log(), feed.probe.log()[-800:])


def test_two_hubs(lab):
    """Copies to both, from one spool; the one that was away gets its own from the next run."""
    hubs = two_hubs(lab)
    both = hubs[0].options_for_probe() + hubs[1].options_for_probe()
    hubs[1].stop()
    feed = Feed(lab, 1, *both, "--zmq-fanout", "--exit-timeout", "6", name="site")
    feed.flows(3000)
    feed.end()
    same(feed.probe.wait(60), 3, "the probe ends with")
    check("3000 flows left" in feed.probe.log() and "at the next start" in feed.probe.log(),
          f"what is left is said: {feed.probe.log()[-500:]}")
    exactly_once(hubs[0], range(1, 3001))
    hubs[1].again()
    turned = []  # the hubs in another order
    for hub in reversed(hubs):
        turned += hub.options_for_probe()
    feed = Feed(lab, 3001, *turned, "--zmq-fanout", name="site")
    feed.flows(100)
    feed.end()
    same(feed.probe.wait(60), 0, "the probe ends with")
    for hub in hubs:
        exactly_once(hub, range(1, 3101))
        same(total(hub), 3100, "flows")
        same(hub.get("/probes")[0]["flows_missing"], 0, "missing")


def test_live_probe_stops(lab):
    """Away or not, SIGTERM takes seconds, and nothing is lost."""
    site, sender = lab.namespace(), lab.namespace()
    lab.cable((site, "eno1", None), (sender, "wire", None))
    port = free_ports(2)
    key = lab.hub().key()
    options = ["--ntopng", f"tcp://127.0.0.1:{port}", "--zmq-probe-mode", "--zmq-encryption-key",
               key]
    probe = lab.probe("-i", "eno1", "--no-dpi", *options, namespace=site, name="site")
    wait_for("it captures", lambda: probe.running() and "connecting" in probe.log() or
             "nothing listens" in probe.log())
    script = ("import socket\ns = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)\n"
              "s.bind(('wire', 0))\nfor i in range(50): s.send(bytes.fromhex('02000000000102"
              "0000000002080045000024000000004011000' + '0' + '0a0000%02x0b000001' % i + "
              "'04000009001000000000000000000000'))\n")
    subprocess.run(in_namespace(sender, ["python3", "-c", script]), check=True)
    time.sleep(1)
    begun = time.monotonic()
    same(probe.stop(), 0, "the probe ends with")
    check(time.monotonic() - begun < 4, f"it took {time.monotonic() - begun:.1f} s to stop")
    check("50 flows wait in" in probe.log(), f"the log says what waits: {probe.log()[-600:]}")
    same(len(read_segments(spool_of(lab, "site"))), 50, "flows in the spool")


SENDER = """import socket, sys, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(('wire', 0))
for i in range(int(sys.argv[1]), int(sys.argv[2])):
    s.send(bytes.fromhex('020000000001020000000002080045000024000000004011000' + '0'
                         + '0a%06x0b00000104000009001000000000000000000000' % i))
    time.sleep(float(sys.argv[3]))
"""


def test_what_it_knows_is_shown(lab):
    """Spool and sum of a probe in API and metrics: while it fills, after the hub was away, and in
    the probe's own counters."""
    site, sender = lab.namespace(), lab.namespace()
    lab.cable((site, "eno1", None), (sender, "wire", None))

    def send(first, end, pause):
        return subprocess.Popen(in_namespace(sender, ["python3", "-c", SENDER, str(first), str(end),
                                                      str(pause)]))
    hub = lab.hub(namespace=site)
    probe = lab.probe("-i", "eno1", "--no-dpi", "-d", "1", "--counters", lab.path("counters"),
                      *hub.options_for_probe(), namespace=site, name="site")

    def known():
        probes = hub.get("/probes")
        return probes[0] if probes and probes[0]["spool"]["hubs"] else None

    def sums_up(flows, metered, limit_s=40):
        """All are stored, and the probe's account, a report a second, has come to know of it."""
        def look():
            stored = total(hub)
            at = known()
            ledger = at["ledger"]
            check(at["spool"]["flows"] == 0 and at["spool"]["oldest_ms"] == 0 and stored == flows
                  and ledger["state"] == "balanced" and ledger["unexplained"] == 0
                  and ledger["waiting"] == 0 and ledger["metered"] >= metered
                  and ledger["metered"] == ledger["stored"] - ledger["waited"],
                  f"{stored} stored of {flows}, {at}")
            return at
        return wait_for("the spool is empty and the sum adds up", look, limit_s)
    first = wait_for("it says what its spool holds", known)["spool"]
    same(first["disk"], "good", "disk")
    check(first["limit_bytes"] > 1 << 20, f"{first}")
    wait_for("the sum stands", lambda: known()["ledger"]["state"] == "balanced", 30)
    running = send(0, 400, 0.02)  # a group is not committed while flows come
    filled = wait_for("flows wait", lambda: (lambda s: s["flows"] > 5 and s["oldest_ms"] > 0
                                             and s["bytes"] > 0 and s["hours_left"] > 0 and s)(
                                                 known()["spool"]))
    check(filled["flows"] <= 400 and filled["batches"] <= filled["flows"], f"{filled}")
    same(running.wait(60), 0, "the sender ends with")
    at = sums_up(400, 400)
    same((at["ledger"]["metered"], at["ledger"]["stored"]), (400, 400), "metered and stored")

    hub.stop()
    same(send(400, 600, 0).wait(60), 0, "the sender ends with")
    time.sleep(4)  # they end, and wait
    hub.again()
    wait_for("the probe is back", known)
    sums_up(600, 0)
    same(send(600, 630, 0).wait(60), 0, "the sender ends with")
    at = sums_up(630, 30)
    lines = [line for line in hub.fetch("/metrics")[1].decode().splitlines()
             if line.startswith(("weir_probe_spool_", "weir_probe_ledger_"))]
    values = {line.split("{")[0]: int(line.rsplit(" ", 1)[1]) for line in lines}
    same(values["weir_probe_spool_flows"], 0, "spool flows")
    same(values["weir_probe_spool_limit_bytes"], at["spool"]["limit_bytes"], "its limit")
    same(values["weir_probe_ledger_differs"], 0, "differs")
    same(values["weir_probe_spool_flows_dropped_total"], 0, "dropped")
    same(probe.stop(), 0, "the probe ends with")
    with open(lab.path("counters")) as file:
        counters = dict(line.rsplit(" ", 1) for line in file.read().splitlines() if line[0] != "#")
    same(counters["weir_probe_spool_flows_appended_total"], "630", "appended")
    same(counters["weir_probe_spool_flows"], "0", "left")


def test_in_use(lab):
    options = away(lab.hub())
    feed = Feed(lab, 1, *options, "--spool-dir", lab.path("shared"), name="one")
    wait_for("it runs", lambda: os.path.exists(lab.path("shared/lock")))
    second = Feed(lab, 1, *options, "--spool-dir", lab.path("shared"), name="two")
    same(second.probe.wait(10), 1, "the second ends with")
    check(f"{lab.path('shared')} is in use" in second.probe.log(), second.probe.log())
    feed.end()
    second.end()
    feed.probe.kill()


def test_others_read_it(lab):
    """tshark takes a segment for what it is: an RFC 5655 file."""
    options = away(lab.hub())
    feed = Feed(lab, 1, *options, name="site")
    feed.flows(3000)
    wait_for("it is written", lambda: len(read_segments(spool_of(lab, "site"))) >= 2000)
    feed.probe.kill()
    feed.end()
    written = len(read_segments(spool_of(lab, "site")))
    if not shutil.which("tshark"):
        return
    path = glob.glob(os.path.join(spool_of(lab, "site"), "*.zst"))
    same(len(path), 1, "segments")
    plain = lab.path("segment.ipfix")
    with open(plain, "wb") as file:
        subprocess.run(["zstd", "-dcq", path[0]], stdout=file, check=True)
    run = subprocess.run(["tshark", "-r", plain, "-T", "fields", "-e", "cflow.srcaddr"],
                         capture_output=True, text=True)
    seen = [a for line in run.stdout.splitlines() for a in line.split(",") if a]
    same(len(set(seen)), written, f"flows that tshark sees ({run.stderr[-300:]})")


main([test_killed_again_and_again, test_older_copy_put_back, test_limit, test_disk_full,
      test_two_hubs_share, test_two_hubs, test_live_probe_stops,
      test_what_it_knows_is_shown, test_in_use, test_others_read_it])
