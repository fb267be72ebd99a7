#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# time limit: 300 s
"""A probe's licence: --check-license over a table of cases; without one, 25,000 records go to a
collector and no more, to the record; a licence that is put there lifts it, a hub's lease too, which
is remembered; a probe with a licence of its own takes no seat at a hub."""
import functools
import os
import re
import struct
import subprocess
import tempfile
import time

from _causes import shim
from _collector import Collector, packet, write_capture
from _e2e import LICENSE, PROBE, SOURCE, check, issue, main, same, wait_for

LIMIT = 25000
NOW = 1700000000

# Machines of the test's own: what they say of themselves is put in the place of this one's, in a
# mount namespace, and what root would leave for others goes nowhere.
MACHINE = """
mount -t tmpfs none /sys/class && mkdir -p /sys/class/dmi/id && echo "$1" > /sys/class/dmi/id/product_uuid
echo "$2" > /sys/class/machine-id && mount --bind /sys/class/machine-id /etc/machine-id
mount -t tmpfs none /var/lib
shift 2; exec "$@"
"""


def machine(number):
    return ["unshare", "-m", "sh", "-ec", MACHINE, "sh", f"6ba7b810-9dad-11d1-80b4-00c04fd4{number:04x}",
            f"{number:032x}"]


HERE, ELSEWHERE = machine(0xbeef), machine(0xcafe)
MACHINES = {"here": HERE, "elsewhere": ELSEWHERE}


@functools.cache
def system_id(key):
    where = MACHINES[key]
    run = subprocess.run([*where, PROBE, "--version"], capture_output=True, text=True)
    same(run.returncode, 0, f"--version, having said {run.stderr}")
    found = re.search(r"^weir-probe \S+\nSystem ID (weir1-\S+)$", run.stdout, re.M)
    check(found, f"--version says {run.stdout!r}")
    return found[1]


def own(lab, name, where="here", **more):
    path = lab.path(name)
    issue(path, "--system-id", system_id(where), *more.pop("options", ()), kind="probe", **more)
    return path


# ------------------------------------------------------------------------------- --check-license

def check_license(lab, path, where=HERE):
    run = subprocess.run([*where, PROBE, "--check-license", "--license", path, "--data-dir",
                          lab.path("data")], capture_output=True, text=True)
    check(not os.path.exists(lab.path("data")), "--check-license makes no folder")
    return run.returncode, run.stdout + run.stderr


def id_of(lab, path):
    return re.search("licence ([0-9a-f]+)", check_license(lab, path)[1])[1]


def revoke(path, licence):
    with tempfile.NamedTemporaryFile("w") as words:
        words.write("evaluation\n")
        words.flush()
        subprocess.run([LICENSE, "revoke", path, licence, "--key",
                        os.path.join(SOURCE, "licences", "evaluation.key"), "--passphrase-file", words.name],
                       check=True, capture_output=True)


def expect(lab, what, path, code, words):
    got, said = check_license(lab, path)
    same((what, got), (what, code), f"exit code, having said\n{said}\n")
    check(said.startswith("valid" if code == 0 else ("none", "invalid")), f"{what}: {said}")
    check(re.search(words, said), f"{what}: no {words!r} in\n{said}")
    check(system_id("here") in said, f"{what}: the System ID in\n{said}")


def put(path, text):
    with open(path, "w") as file:
        file.write(text)
    return path


def test_check_license(lab):
    good = own(lab, "good.license", expires="90d")
    with open(good) as file:
        line = file.read()
    expect(lab, "good", good, 0, r"valid: licence [0-9a-f]+ of Test .*: valid until 20")
    expect(lab, "none", lab.path("nowhere"), 1, "none: there is no licence at ")
    expect(lab, "empty", put(lab.path("empty"), ""), 1, "invalid: ")
    expect(lab, "half", put(lab.path("half"), line[:len(line) // 2]), 1, "invalid: ")
    for at in range(0, len(line) - 1, 97):
        changed = line[:at] + chr(ord(line[at]) ^ 1) + line[at + 1:]
        expect(lab, f"character {at}", put(lab.path("changed"), changed), 1, "invalid: ")
    expect(lab, "ends soon", own(lab, "soon", expires="6d"), 0, "within 7 days")
    expect(lab, "elsewhere", own(lab, "elsewhere", "elsewhere"), 1, "for another machine: .* 0 match")
    dates = ("--not-before", "2024-01-01")
    expect(lab, "expired", own(lab, "expired", expires="2024-02-01", options=dates), 1, "it expired on 2024-02-01")
    expect(lab, "grace", own(lab, "grace", expires="2024-02-01", options=(*dates, "--grace", "3650")), 0,
           "it expired on 2024-02-01; everything works until")
    expect(lab, "not yet", own(lab, "later", expires="2098-01-01", options=("--not-before", "2097-01-01")), 1,
           "it holds from 2097-01-01 on")
    for kind, options in (("cloud", ()), ("hub", ("--system-id", system_id("here")))):
        path = lab.path(kind)
        issue(path, *options, kind=kind)
        expect(lab, kind, path, 1, f"it is a {kind} licence: install it on the hub")
    code, said = check_license(lab, good, where=[])  # this machine, whatever it is
    same(code, 1, f"on another machine, having said {said}")
    # a list beside it
    revoke(lab.path("revoked.list"), id_of(lab, good))
    expect(lab, "revoked", good, 1, "was revoked by its vendor")


# ------------------------------------------------------------------------------------- the limit

def counters_of(path):
    with open(path) as file:
        return {line.split()[0]: int(line.split()[1]) for line in file if line[0] != "#"}


def run_file(lab, capture, collector, *options, where=()):
    counters = lab.path("counters")
    run = subprocess.run([*where, PROBE, "-i", capture, "--no-dpi", "--json", "-", "--counters", counters, "-n",
                          f"127.0.0.1:{collector.port}", "--data-dir", lab.path("data"), *options],
                         capture_output=True, text=True, timeout=60)
    same(run.returncode, 0, f"exit code, having said\n{run.stderr[-1000:]}\n")
    return run.stdout.count("\n"), counters_of(counters), run.stderr


def test_limit(lab):
    """To the record, in every version; --json has everything; with a licence all of it goes."""
    capture, n = lab.path("many.pcap"), 30000
    write_capture(capture, (packet(3 * i) for i in range(n)), step_us=10)  # one packet, IPv4
    licence = own(lab, "probe.license")
    for version in ("5", "9", "10"):
        for options, where, expected in ((("--license", lab.path("none")), (), LIMIT),
                                         (("--license", licence), HERE, n))[:2 if version == "9" else 1]:
            collector = Collector(counting=version != "10")
            lines, got, said = run_file(lab, capture, collector, "-V", version, *options, where=where)
            wait_for("records", lambda: collector.records() >= expected, 5)
            time.sleep(0.2)
            collector.stop()
            same(collector.records(), expected, f"v{version}: records at the collector")
            same(lines, n, f"v{version}: lines of --json")
            same(got["weir_probe_collector_flows_withheld_total"], n - expected, "withheld by the counter")
            same(got["weir_probe_collector_limited"], int(expected == LIMIT), "limited by the counter")
            if expected == LIMIT:
                for words in ("a run exports 25000 records to collectors and then no more",
                              "25000 records were exported to collectors", "5000 flows were not exported"):
                    check(words in said, f"{words!r} in\n{said}")
            else:
                check("no limit, by licence" in said and "25000" not in said, said)
    again = Collector(counting=True)
    run_file(lab, capture, again, "--license", lab.path("none"))
    wait_for("the next run has its own", lambda: again.records() >= LIMIT, 5)
    again.stop()


class Feed:
    """A probe that reads a capture which the test goes on writing."""

    def __init__(self, lab, name, *options, where=()):
        self.at_s, self.next = NOW, 0
        self.path, self.counters = lab.path(name + ".log"), lab.path(name + ".counters")
        self.json = lab.path(name + ".json")
        self.process = subprocess.Popen(
            [*where, PROBE, "-i", "-", "-d", "1", "--no-dpi", "--counters", self.counters, "--json", self.json,
             "-V", "9", *options], stdin=subprocess.PIPE, stderr=open(self.path, "w"))
        self.process.stdin.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
        self.process.stdin.flush()

    def give(self, n):
        """n flows of one packet that end now: the packet that says so begins one more, which ends
        with those of the next time, or at the end."""
        chunk = b""
        for i in range(n - (self.next > 0)):
            frame = packet(3 * self.next)
            self.next = (self.next + 1) % 1000000
            self.at_s += i % 1000 == 999
            chunk += struct.pack("<IIII", self.at_s, 0, len(frame), len(frame)) + frame
        self.at_s += 100
        late = packet(3 * 59999 + 1)
        chunk += struct.pack("<IIII", self.at_s, 0, len(late), len(late)) + late
        self.process.stdin.write(chunk)
        self.process.stdin.flush()

    def log(self):
        with open(self.path) as file:
            return file.read()

    def end(self):
        self.process.stdin.close()
        same(self.process.wait(60), 0, f"exit code, having said\n{self.log()[-2000:]}\n")
        return counters_of(self.counters)

    def kill(self):
        self.process.kill()
        self.process.wait()


def holds(what, get, value):
    """It comes to this value, and stays there."""
    wait_for(f"{what} is {value}", lambda: get() >= value, 20)
    time.sleep(0.6)
    same(get(), value, what)


def test_licence_comes_and_goes(lab):
    """While it runs, in a second: limited, a licence is put there; another machine's in its place is
    told, and the good one holds for its day; a vendor revokes it."""
    good, bad = own(lab, "good"), own(lab, "bad", "elsewhere")
    path, good_id = lab.path("probe.license"), id_of(lab, good)
    os.mkdir(lab.path("data"))  # without a hub nobody makes it
    collector = Collector(counting=True)
    feed = Feed(lab, "feed", "-n", f"127.0.0.1:{collector.port}", "--license", path, "--data-dir",
                lab.path("data"), where=HERE)
    try:
        feed.give(26000)
        holds("at the limit", collector.records, LIMIT)
        os.rename(good, path)
        wait_for("it is taken", lambda: "no limit, by licence" in feed.log(), 3)
        feed.give(27000)
        holds("without it", collector.records, LIMIT + 27000)
        os.rename(bad, path)
        wait_for("it is told", lambda: "it is for another machine" in feed.log(), 3)
        feed.give(2000)
        holds("still without it", collector.records, LIMIT + 29000)
        revoke(lab.path("revoked.list"), good_id)
        wait_for("it is revoked", lambda: feed.log().count("neither a licence") == 2, 3)
        feed.give(26000)
        holds("at the limit again", collector.records, 2 * LIMIT + 29000)
        got = feed.end()
        same(got["weir_probe_collector_flows_withheld_total"], 2001, "withheld")
        with open(feed.json) as file:
            same(sum(1 for _ in file), 81001, "lines of --json")
    finally:
        feed.kill()
        collector.stop()


def test_disk_that_stands_still(lab):
    """What is remembered of a licence is written by nobody who has packets to take."""
    flag, good, path = lab.path("stall"), own(lab, "good"), lab.path("probe.license")
    env = [f"{k}={v}" for k, v in shim(lab, WEIR_SHIM_STALL=flag).items()]
    collector = Collector(counting=True)
    os.mkdir(lab.path("data"))  # without a hub nobody makes it
    feed = Feed(lab, "feed", "-n", f"127.0.0.1:{collector.port}", "--license", path, "--data-dir", lab.path("data"),
                where=(*HERE, "env", *env))
    try:
        feed.give(1000)
        holds("before", collector.records, 1000)
        put(flag, "")
        os.rename(good, path)
        time.sleep(3)
        feed.give(1000)
        holds("meanwhile", collector.records, 2000)
        check("no limit, by licence" not in feed.log(), f"the disk did not stand still: {feed.log()}")
        os.unlink(flag)
        wait_for("it is taken", lambda: "no limit, by licence" in feed.log(), 5)
        feed.end()
    finally:
        feed.kill()
        collector.stop()


# -------------------------------------------------------------------------------------- with a hub

def edit_lease(folder, *numbers):
    path = os.path.join(folder, "lease")
    with open(path) as file:
        rest = file.read().split()[2:]
    put(path, " ".join([*map(str, numbers), *rest]) + "\n")


def test_lease(lab):
    """A hub's lease lifts the limit, in evaluation too; it is remembered without the hub, for seven
    days and no longer."""
    hub = lab.hub("--license", lab.path("no.license"))
    data, collector = lab.path("data"), Collector(counting=True)
    options = ["-n", f"127.0.0.1:{collector.port}", "--license", lab.path("none"), "--data-dir", data]
    feed = Feed(lab, "first", *options, *hub.options_for_probe())
    try:
        wait_for("a lease", lambda: "no limit, by a hub's lease (licence evaluation)" in feed.log(), 10)
        feed.give(27000)
        holds("records", collector.records, 27000)
        # what went outside is at the hub as well, once
        feed.end()
        same(hub.get("/flows", from_=0, to=2 ** 43, limit=1)["total"], 27001, "flows at the hub")
    finally:
        feed.kill()
        hub.kill()
        collector.stop()

    day = 86400
    for name, numbers, lifted in (("remembered", None, True),
                                  ("an hour of it left", (time.time() + 3600, 7 * day), True),
                                  ("over", (time.time() - 1, 7 * day), False),
                                  ("used up, whatever the clock says", (time.time() + 7 * day, 0), False)):
        if numbers:
            edit_lease(data, *map(int, numbers))
        collector = Collector(counting=True)
        options[1] = f"127.0.0.1:{collector.port}"
        feed = Feed(lab, name.replace(" ", "-"), *options)
        try:
            feed.give(26000)
            holds(name, collector.records, 26000 if lifted else LIMIT)
            check(("by a hub's lease" in feed.log()) == lifted, f"{name}: {feed.log()}")
            feed.end()
        finally:
            feed.kill()
            collector.stop()


def test_own_licence_takes_no_seat(lab):
    """A hub in evaluation has two; two probes take them, a third waits, and one with a licence of its
    own is admitted all the same. When that licence goes to nothing, it waits too."""
    hub = lab.hub("--license", lab.path("no.license"))
    path = own(lab, "probe.license", expires="90d")
    feeds = []

    def seats():
        return {p["name"]: p.get("seat") for p in hub.get("/probes")}
    try:
        for i, (licence, where) in enumerate(((lab.path("none"), ()), (lab.path("none"), ()),
                                              (path, HERE), (lab.path("none"), ()))):
            feeds.append(Feed(lab, f"p{i}", "--license", licence, "--data-dir", lab.path(f"data{i}"), "--probe-name",
                              f"p{i}", *hub.options_for_probe(), where=where))
            wait_for(f"p{i} is known", lambda: f"p{i}" in seats(), 10)
        expected = {"p0": "held", "p1": "held", "p2": "own", "p3": "waiting"}
        wait_for("who has a seat", lambda: seats() == expected, 10)
        feeds[2].give(100)
        wait_for("its flows are stored", lambda: hub.get("/flows", from_=0, to=2 ** 43, limit=1)["total"] == 100, 15)
        put(path, "nothing")
        os.unlink(os.path.join(lab.path("data2"), "licence.verified"))
        wait_for("without its licence it waits", lambda: seats()["p2"] == "waiting", 10)
        same(seats()["p0"], "held", "the first")
    finally:
        for feed in feeds:
            feed.kill()


if __name__ == "__main__":
    main([test_check_license, test_limit, test_licence_comes_and_goes,
          test_disk_that_stands_still, test_lease, test_own_licence_takes_no_seat])
