# SPDX-License-Identifier: Apache-2.0
"""A campaign: flows from three sites, random faults, and the verdict."""
import collections
import copy
import json
import os
import random
import shutil
import threading
import time
import traceback

import faults
import fetch
import verdict as judge
from _e2e import SOURCE, Failure, Lab, check, wait_for
from world import World

LANES = 2  # faults at a time
SITES = 3


class Plan:
    """Which fault hits which site with which chances, all of it from the seed. Every kind comes once
    before any comes twice, `first` before the others."""

    def __init__(self, seed, n, kinds, first=()):
        self.seed, self.n, self.kinds, self.made = seed, n, kinds, 0
        self.draw = random.Random(seed)
        self.deck, self.first = [], list(first)

    def next(self):
        """(number, fault, index of the site, its source of chance)"""
        if not self.deck:
            self.deck = [kind for kind in self.kinds
                         for _ in range(kind.weight if self.made else 1)]
            self.draw.shuffle(self.deck)
            self.deck.sort(key=lambda kind: kind in self.first)  # taken from its end
            self.first = []
        number, self.made = self.made, self.made + 1
        return (number, self.deck.pop(), self.draw.randrange(SITES),
                random.Random(f"{self.seed}/{number}"))


class Campaign:
    def __init__(self, seed, n_faults, n_flows, longest_s=60.0, kinds=None, keeps=True, first=()):
        self.seed, self.n_faults, self.n_flows, self.keeps = seed, n_faults, n_flows, keeps
        self.longest_s = longest_s
        self.plan = Plan(seed, n_faults, kinds or faults.FAULTS, first)
        self.done, self.idle = collections.Counter(), collections.Counter()
        self.turn = threading.Condition()
        self.busy, self.failure, self.world = set(), None, None

    # ---------------------------------------------------------------------------- the faults

    def say(self, text):
        print(f"{time.monotonic() - self.begun:7.1f} s  {text}", flush=True)

    def targets(self, fault, site):
        """As names that exclude each other"""
        if fault.act is faults.spool_limit:
            site = self.world.limited
        names = {"hub": ["hub"], "site": [site.name], "net": [site.name + " net"],
                 "nets": [each.name + " net" for each in self.world.sites]}
        return {name for target in fault.targets for name in names[target]}

    def take(self):
        """The next fault, once what it touches is left alone by others; None: there were enough"""
        with self.turn:
            if self.failure or sum(self.done.values()) + self.under_way >= self.n_faults or \
                    self.plan.made >= 3 * self.n_faults + 20:
                return None
            number, fault, site, draw = self.plan.next()
            self.under_way += 1
            site = self.world.sites[site]
            targets = self.targets(fault, site)
            self.turn.wait_for(lambda: not targets & self.busy)
            self.busy |= targets
            return number, fault, site, draw, targets

    def give_back(self, fault, targets, answer):
        with self.turn:
            self.busy -= targets
            self.under_way -= 1
            (self.idle if answer else self.done)[fault.name] += 1
            self.turn.notify_all()

    def lane(self):
        while True:
            taken = self.take()
            if not taken:
                return
            number, fault, site, draw, targets = taken
            self.say(f"{number + 1:4}  {fault.name} ({', '.join(sorted(targets))})")
            answer = None
            try:
                answer = fault.act(self.world, draw, site)
            except Exception as error:
                answer = "failed"
                self.failure = self.failure or f"{fault.name}: {error}"
                if not isinstance(error, Failure):
                    traceback.print_exc()
            if answer:
                self.say(f"{number + 1:4}  nothing happened: {answer}")
            self.give_back(fault, targets, answer)
            time.sleep(draw.random() * 2)

    def run_faults(self):
        self.under_way = 0
        lanes = [threading.Thread(target=self.lane) for _ in range(LANES)]
        for lane in lanes:
            lane.start()
        draw = random.Random(f"{self.seed}/weather")
        while any(lane.is_alive() for lane in lanes):
            time.sleep(0.5)
            if draw.random() < 0.1:  # full batches too
                site = draw.choice(self.world.sites)
                self.world.tell(f"burst wire{site.number} {draw.randrange(500, 3000)}")
        for lane in lanes:
            lane.join()
        check(not self.failure, self.failure)

    # ------------------------------------------------------------------------------- the end

    def send_the_rest(self):
        left = self.n_flows - self.world.sent()
        for site in self.world.sites:
            self.world.tell(f"rate wire{site.number} 0")
            if left > 0:
                self.world.tell(f"burst wire{site.number} {left // SITES + 1}")
        wait_for("all is sent", lambda: self.world.sent() >= self.n_flows, 600)
        time.sleep(3)  # a flow ends a second after its last packet

    def drain(self):
        """Every probe ends by itself and leaves nothing"""
        world = self.world
        machines = [*world.sites, *world.clones]
        threads = []
        codes = {}
        for site in machines:
            thread = threading.Thread(target=lambda s=site: codes.update({s.name: s.stop(150)}))
            thread.start()
            threads.append(thread)
        for thread in threads:
            thread.join()
        left = [name for name in (s.name for s in machines) if codes.get(name) not in (0, 3)]
        check(not left, f"after SIGTERM, with a hub that is well: {codes}")
        return codes

    def judge(self):
        world = self.world
        batches = world.booked()
        world.excuses.unreadable |= {p for p, batch in batches.items() if batch.flows is None}
        path, answer = world.fetch()
        with open(world.lab.path("answer.json"), "w") as file:
            json.dump(answer, file, indent=1)
        stored = judge.Stored.read(path, answer)
        return batches, stored, judge.decide(batches, stored, world.excuses)

    def run(self):
        """The verdict; what it stands on stays in self.evidence"""
        self.begun = time.monotonic()
        print(f"seed {self.seed}: {self.n_faults} faults, {self.n_flows:,} flows", flush=True)
        with Lab() as lab:
            self.world = World(lab, SITES, limited_site=SITES)
            try:
                self.prepare()
                self.run_faults()
                self.say("the rest of the flows")
                self.send_the_rest()
                sent = self.world.sent()
                codes = self.drain()
                self.say("looking")
                batches, stored, verdict = self.judge()
                if any(codes.values()):
                    verdict.complain("probes that left flows behind", str(codes))
                self.evidence = batches, stored, self.world.excuses
                self.show(sent, verdict)
                if not verdict.good:
                    self.keep()
            except BaseException:
                self.keep()
                raise
            finally:
                self.world.close()
        return verdict

    def prepare(self):
        world = self.world
        world.excuses = judge.Excuses(limited={SITES})
        world.limited = world.sites[-1]
        world.longest_s = self.longest_s
        world.rate = max(100.0, self.n_flows / SITES / (self.n_faults * 4.0 + 10))
        world.burst = 80000
        wait_for("three probes are connected", lambda: sum(
            probe["connected"] for probe in world.hub.get("/probes")) == SITES, 30)
        for site in world.sites:
            world.tell(f"rate wire{site.number} {world.rate:.1f}")

    def show(self, sent, verdict):
        print(f"\n{'faults':50}{'done':>5}{'no occasion':>13}")
        for fault in self.plan.kinds:
            print(f"{fault.name:50}{self.done[fault.name]:5}{self.idle[fault.name]:13}")
        print(f"{'all':50}{sum(self.done.values()):5}{sum(self.idle.values()):13}\n")
        print(f"{'sent':12}{sent:>12,}\n{verdict.text()}")
        print(f"seed {self.seed}: the promise was " + ("kept" if verdict.good else "BROKEN"),
              flush=True)

    def keep(self):
        """Logs, ledger and the hub's answers, for whoever looks into it"""
        if not self.keeps:
            return
        to = os.path.join(SOURCE, "test-output", f"fault-{self.seed}")
        shutil.rmtree(to, ignore_errors=True)
        os.makedirs(to)
        lab = self.world.lab
        for name in sorted(os.listdir(lab.folder)):
            path = lab.path(name)
            if name == "ledger":
                shutil.copytree(path, os.path.join(to, name))
            elif os.path.isfile(path) and not name.endswith(".control"):
                shutil.copy(path, to)
        for site in [*self.world.sites, *self.world.clones]:
            if os.path.isdir(site.spool):
                shutil.copytree(site.spool, os.path.join(to, site.name), dirs_exist_ok=True)
        print(f"logs, ledger and answers are in {to}", flush=True)


# --------------------------------------------------------------- that the checker can say no

def without_a_page(batches, stored):
    known = {flow for batch in batches.values() for flow, _, _ in batch.flows or ()}
    at = next(i for i, row in enumerate(stored.rows) if row[0] in known)
    del stored.rows[at:at + fetch.LIMIT]


def with_a_double(batches, stored):
    stored.rows.append(stored.rows[0])


def with_an_octet_more(batches, stored):
    known = {flow for batch in batches.values() for flow, _, _ in batch.flows or ()}
    at = next(i for i, row in enumerate(stored.rows) if row[0] in known)
    flow, packets, octets, received = stored.rows[at]
    stored.rows[at] = flow, packets, octets + 1, received


def later(batches, stored):
    """One batch of flows arrives after the one behind it"""
    flows = {}
    for flow, _, _, received in stored.rows:
        flows[flow] = received
    for (epoch, sequence), batch in batches.items():
        behind = batches.get((epoch, sequence + 1))
        if not behind or not batch.flows or not behind.flows:
            continue
        ids = {flow for flow, _, _ in batch.flows}
        times = [flows[flow] for flow, _, _ in behind.flows if flow in flows]
        if times and ids <= flows.keys():
            stored.rows[:] = [(*row[:3], max(times) + 1) if row[0] in ids else row
                              for row in stored.rows]
            return
    raise Failure("no two batches to turn round")


def with_a_gap(batches, stored):
    """Over a batch that is stored"""
    taken = {(gap["epoch"], n) for gap in stored.gaps
             for n in range(gap["first"], gap["last"] + 1)}
    epoch, sequence = next(place for place, batch in batches.items()
                           if batch.flows and place not in taken)
    counts = batches[epoch, sequence].counts
    stored.gaps.append({"epoch": epoch, "first": sequence, "last": sequence, "flows": counts[0],
                        "packets": counts[1], "octets": counts[2], "reason": "dropped",
                        "at_ms": 0})


def first_known_gap(batches, stored):
    for i, gap in enumerate(stored.gaps):
        if all((gap["epoch"], n) in batches for n in range(gap["first"], gap["last"] + 1)):
            return i
    raise Failure("no gap to try it with")


def without_a_gap(batches, stored):
    del stored.gaps[first_known_gap(batches, stored)]


def with_a_gap_of_one_less(batches, stored):
    stored.gaps[first_known_gap(batches, stored)]["flows"] -= 1


MUTATIONS = [without_a_page, with_a_double, with_an_octet_more, later, with_a_gap, without_a_gap,
             with_a_gap_of_one_less]


def prove(evidence):
    """Each way of spoiling the hub's answers must be noticed; those that do not fit the evidence
    (no gap, no order to tell) are named"""
    batches, stored, excuses = evidence
    noticed = 0
    for spoil in MUTATIONS:
        spoilt = copy.deepcopy(stored)
        if spoil is later and excuses.clock_stepped:
            continue
        try:
            spoil(batches, spoilt)
        except Failure as reason:
            print(f"{spoil.__name__}: {reason}")
            continue
        check(not judge.decide(batches, spoilt, excuses).good, f"{spoil.__name__}: not noticed")
        noticed += 1
    return noticed
