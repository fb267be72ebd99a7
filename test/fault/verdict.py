# SPDX-License-Identifier: Apache-2.0
"""Whether the promise was kept: from what the ledger says was durable at the probes and what the
hub's REST API answers, and from nothing else. `excuses` are what the campaign itself destroyed."""
import collections
import dataclasses

from fetch import FOREIGN, ROW

SHOWN = 5  # examples of each complaint


@dataclasses.dataclass
class Stored:
    """What the hub answered: rows as fetch.ROW has them, gaps as the API has them"""
    rows: list
    gaps: list

    @staticmethod
    def read(path, answer):
        with open(path, "rb") as file:
            return Stored(list(ROW.iter_unpack(file.read())), answer["gaps"])


@dataclasses.dataclass
class Excuses:
    """What may be missing, and why. Places are (epoch, sequence)."""
    # durable once, and destroyed by the campaign while the hub did not have them: a disk put back
    # to an older copy. Nobody can know of them.
    destroyed: set = dataclasses.field(default_factory=set)
    # made unreadable by the campaign: they must be told as a gap
    unreadable: set = dataclasses.field(default_factory=set)
    # sites whose spool was made smaller than an outage: the oldest goes, told as a gap
    limited: set = dataclasses.field(default_factory=set)
    # when, in ms, the hub's data went back to an older copy: what it had stored since the copy was
    # made and the probes had freed is told as a gap
    restored: list = dataclasses.field(default_factory=list)
    clock_stepped: bool = False  # the hub's: times of arrival do not tell an order any more


@dataclasses.dataclass
class Verdict:
    committed: int = 0
    stored: int = 0
    beyond: int = 0  # stored, and not in the ledger: they had come before they were durable
    in_gaps: int = 0
    destroyed: int = 0
    lost: int = 0
    doubled: int = 0
    reordered: int = 0
    complaints: dict = dataclasses.field(default_factory=lambda: collections.defaultdict(list))

    def complain(self, kind, text):
        self.complaints[kind].append(text)

    @property
    def good(self):
        return not self.complaints

    def text(self):
        lines = [f"{name:12}{getattr(self, name):>12,}" for name in (
            "committed", "stored", "beyond", "in_gaps", "destroyed", "lost", "doubled",
            "reordered")]
        for kind, texts in self.complaints.items():
            lines.append(f"{kind}: {len(texts)}")
            lines += ["  " + text for text in texts[:SHOWN]]
        return "\n".join(lines)


class Gaps:
    """The gaps by epoch, each checked against the ledger"""

    def __init__(self, gaps, batches, verdict):
        self.by_epoch = collections.defaultdict(list)
        for gap in gaps:
            self.by_epoch[gap["epoch"]].append(gap)
        self.places = {}
        for rows in self.by_epoch.values():
            rows.sort(key=lambda gap: gap["first"])
            for before, gap in zip(rows, rows[1:]):
                if gap["first"] <= before["last"]:
                    verdict.complain("overlapping gaps", f"{before} and {gap}")
            for gap in rows:
                self.check(gap, batches, verdict)

    def check(self, gap, batches, verdict):
        """Exact where the ledger knows all of it, or the totals at both its ends"""
        places = [(gap["epoch"], n) for n in range(gap["first"], gap["last"] + 1)]
        known = [batches[place] for place in places if place in batches]
        for batch in known:
            self.places[batch.place] = gap
        got = [gap["flows"], gap["packets"], gap["octets"]]
        least = [sum(batch.counts[i] for batch in known) for i in range(3)]
        before = batches.get((gap["epoch"], gap["first"] - 1))
        last = batches.get(places[-1])
        if len(known) == len(places):
            exact = least
        elif last and (before or gap["first"] == 1):
            base = before.totals if before else (0, 0, 0)
            exact = [last.totals[i] - base[i] for i in range(3)]
        else:
            exact = None
        if (got != exact) if exact else any(g < n for g, n in zip(got, least)):
            verdict.complain("gaps with wrong counts", f"{gap}, the ledger has {exact or least}")


def excused(batch, gap, excuses):
    """Whether the campaign gave this gap a cause"""
    place = batch.place
    if place in excuses.unreadable or place in excuses.destroyed:
        return True
    if batch.site in excuses.limited and gap["reason"] == "dropped":
        return True
    return gap["reason"] == "dropped" and any(gap["at_ms"] >= at for at in excuses.restored)


def look_at_batch(batch, times, gaps, excuses, verdict):
    """`times`: for each of its flows when it was received, or None"""
    missing = sum(1 for at in times if at is None)
    gap = gaps.places.get(batch.place)
    if gap:
        if missing < len(times):
            verdict.complain("both stored and in a gap", f"{batch.place}, {gap}")
        verdict.in_gaps += batch.counts[0]
        if not excused(batch, gap, excuses):
            verdict.complain("gaps without a cause", f"site {batch.site}, {batch.place}: {gap}")
    elif batch.place in excuses.destroyed and missing:
        verdict.destroyed += missing
    elif batch.flows is None or missing:
        n = missing or batch.counts[0]
        verdict.lost += n
        verdict.complain("lost", f"site {batch.site}, {batch.place}: {n} of {batch.counts[0]} "
                         f"flows, written at {batch.written_ms}")


def look_at_order(batches, arrivals, verdict):
    """Within an epoch nothing of a later batch came before something of an earlier one"""
    latest = {}
    for batch in sorted(batches.values(), key=lambda batch: batch.place):
        times = arrivals.get(batch.place)
        if not times:
            continue
        if times[0] < latest.get(batch.epoch, 0):
            verdict.reordered += batch.counts[0]
            verdict.complain("reordered", f"site {batch.site}, {batch.place}")
        latest[batch.epoch] = max(latest.get(batch.epoch, 0), times[1])


def look_at_rows(stored, verdict):
    """{flow: (packets, octets, received)}; what is there twice or comes from nowhere"""
    seen = {}
    for flow, packets, octets, received in stored.rows:
        if flow == FOREIGN:
            verdict.complain("foreign flows", "a flow that was never sent")
        elif flow in seen:
            verdict.doubled += 1
            verdict.complain("doubled", f"site {flow >> 24}, flow {flow & 0xffffff}")
        else:
            seen[flow] = (packets, octets, received)
    return seen


def decide(batches, stored, excuses):
    """batches: {(epoch, sequence): ledger.Batch} of all sites"""
    verdict = Verdict(stored=len(stored.rows))
    seen = look_at_rows(stored, verdict)
    gaps = Gaps(stored.gaps, batches, verdict)
    arrivals, known = {}, set()
    for batch in batches.values():
        verdict.committed += batch.counts[0]
        times = []
        for flow, packets, octets in batch.flows or ():
            if flow in known:
                verdict.complain("twice in the ledger", f"site {batch.site}, {batch.place}")
            known.add(flow)
            row = seen.get(flow)
            times.append(row and row[2])
            if row and row[:2] != (packets, octets):
                verdict.complain("changed", f"site {batch.site}, flow {flow & 0xffffff}: "
                                 f"{row[:2]}, committed {(packets, octets)}")
        present = [at for at in times if at is not None]
        if present:
            arrivals[batch.place] = min(present), max(present)
        look_at_batch(batch, times, gaps, excuses, verdict)
    if not verdict.committed:
        verdict.complain("nothing to judge", "the ledger is empty")
    verdict.beyond = sum(1 for flow in seen if flow not in known)
    if not excuses.clock_stepped:
        look_at_order(batches, arrivals, verdict)
    return verdict
