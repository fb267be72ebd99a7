# SPDX-License-Identifier: Apache-2.0
"""The faults. Each takes the world, its own source of chance and a site, does something bad to them
and leaves them running. An answer is a reason why it could not act; it counts as not done."""
import errno
import os
import shutil
import signal
import threading
import time
import urllib.parse

import ledger
from world import (CLONES, CRASH_AFTER_SYNC, CRASH_AFTER_UNLINK, CRASH_BEFORE_SYNC,
                   CRASH_IN_WRITE, Failure, check, wait_for)

FAULTS = []


class Fault:
    def __init__(self, name, targets, act, weight):
        self.name, self.targets, self.act, self.weight = name, targets, act, weight


def fault(name, *targets, weight=1):
    """targets: what no second fault may touch meanwhile: hub, site, net (of the site), nets (all)"""
    def add(act):
        FAULTS.append(Fault(name, targets, act, weight))
        return act
    return add


def seconds(world, draw, low, high):
    """Short ones are as likely as long ones"""
    high = min(high, world.longest_s)
    return low * (high / low) ** draw.random()


def pause(world, draw, low, high):
    time.sleep(seconds(world, draw, low, high))


# ---------------------------------------------------------------------------------- the hub

@fault("hub killed", "hub", weight=3)
def hub_killed(world, draw, _):
    world.hub.kill()
    pause(world, draw, 0.1, 8)
    world.hub.start()


@fault("hub frozen", "hub", weight=2)
def hub_frozen(world, draw, _):
    world.hub.signal(signal.SIGSTOP)
    try:
        pause(world, draw, 1, 45)
    finally:
        world.hub.signal(signal.SIGCONT)


@fault("hub restarted", "hub")
def hub_restarted(world, draw, _):
    world.hub.stop()
    pause(world, draw, 0.1, 3)
    world.hub.start()


@fault("hub killed between commit and acknowledgement", "hub", weight=3)
def hub_commit(world, draw, _):
    # the store's log is durable with the group in it, and nobody has been told
    world.hub.control.set(suffix=b".wal", crash=CRASH_AFTER_SYNC)
    died = world.hub.died(30)
    world.hub.control.calm()
    if not died:
        return "nothing was committed"
    world.hub.kill()
    world.hub.start()


@fault("hub's disk full", "hub")
def hub_disk_full(world, draw, _):
    world.hub.fill_disk(64 * 1024)
    try:
        pause(world, draw, 3, 20)
    finally:
        world.hub.empty_disk()


@fault("hub's disk full, and killed", "hub")
def hub_disk_full_killed(world, draw, _):
    world.hub.fill_disk(64 * 1024)
    try:
        pause(world, draw, 1, 8)
        world.hub.kill()
    finally:
        world.hub.empty_disk()
    world.hub.start()


@fault("hub's clock stepped", "hub")
def hub_clock(world, draw, _):
    world.excuses.clock_stepped = True
    world.hub.control.set(clock_step_ms=draw.choice((-1, 1)) * draw.randrange(10000, 7200000))
    try:
        pause(world, draw, 3, 15)
    finally:
        world.hub.control.set(clock_step_ms=0)


def back_up(world):
    world.hub.stop()
    shutil.copytree(world.hub.data, os.path.join(world.hub.folder, "backup"))
    world.hub.start()


def put_back(world):
    world.hub.kill()
    shutil.rmtree(world.hub.data)
    os.rename(os.path.join(world.hub.folder, "backup"), world.hub.data)
    world.excuses.restored.append(int(time.time() * 1000) - 1)
    world.hub.start()


@fault("hub restored from a backup", "hub", "nets")
def hub_restored(world, draw, _):
    back_up(world)
    pause(world, draw, 3, 15)
    put_back(world)


@fault("hub restored from a backup, epochs ended since", "hub", "site", "nets")
def hub_restored_later(world, draw, site):
    """What was stored since the backup is of epochs that the probe is done with"""
    back_up(world)
    time.sleep(2)
    site.kill()  # ends an epoch
    site.restart()
    time.sleep(4)
    world.hub.kill()  # and batches older than five seconds when a session begins end another
    time.sleep(7)
    world.hub.start()
    pause(world, draw, 4, 15)
    put_back(world)


# ------------------------------------------------------------------------------- the network

@fault("network black-holed", "net", weight=4)
def hole(world, draw, site):
    world.disconnect(site.name)
    try:
        pause(world, draw, 1, 60)
    finally:
        world.connect(site.name)


@fault("network of all black-holed", "nets", weight=2)
def hole_of_all(world, draw, _):
    names = [site.name for site in world.sites]
    world.disconnect(*names)
    try:
        pause(world, draw, 1, 60)
    finally:
        world.connect(*names)


# --------------------------------------------------------------------------------- the probe

@fault("probe killed", "site", weight=3)
def probe_killed(world, draw, site):
    site.kill()
    pause(world, draw, 0.1, 5)
    site.restart()


@fault("probe frozen", "site", weight=2)
def probe_frozen(world, draw, site):
    site.signal(signal.SIGSTOP)
    try:
        pause(world, draw, 1, 45)
    finally:
        site.signal(signal.SIGCONT)


@fault("probe restarted", "site")
def probe_restarted(world, draw, site):
    """It may leave flows behind in its spool, but must say so; or it had only just begun"""
    code = site.stop()
    if code not in (0, 3, -signal.SIGTERM):
        raise Failure(f"{site.name} ends with {code} on SIGTERM")
    site.restart()


def crash(site, place, limit_s=20, suffix=b""):
    site.control.set(suffix=suffix, crash=place)
    died = site.died(limit_s)
    site.control.calm()
    if died:
        site.restart()
    return None if died else "it did not come to that place"


@fault("probe dies within a write: torn record", "site", weight=3)
def probe_torn(world, draw, site):
    return crash(site, CRASH_IN_WRITE, suffix=b".zst")


@fault("probe dies before a sync", "site")
def probe_before_sync(world, draw, site):
    return crash(site, CRASH_BEFORE_SYNC)


@fault("probe dies after a sync", "site")
def probe_after_sync(world, draw, site):
    return crash(site, CRASH_AFTER_SYNC)


@fault("probe dies between unlink and fsync", "site", "hub", weight=2)
def probe_unlink(world, draw, site):
    # a session that begins with batches older than five seconds begins a new epoch, so that the
    # segments of the one before go
    world.hub.kill()
    time.sleep(7)
    site.control.set(suffix=b".zst", crash=CRASH_AFTER_UNLINK)
    world.hub.start()
    return crash(site, CRASH_AFTER_UNLINK, 40, b".zst")


def garbage(draw):
    n = draw.randrange(1, 5000)
    return bytes(n) if draw.random() < 0.3 else draw.randbytes(n)


def lose_power(draw, site):
    """Files go back to what fdatasync made durable, with garbage behind it; what was unlinked and
    whose folder was not synced may be there again, what was made may be gone"""
    sizes, fresh, gone = ledger.durable_sizes(site.ledger)
    for name in sorted(os.listdir(site.spool)):
        path = os.path.join(site.spool, name)
        if not os.path.isfile(path):
            continue
        if name in fresh and draw.random() < 0.5:
            os.unlink(path)
            continue
        size = os.path.getsize(path)
        durable = min(size, sizes.get(name, 0))
        os.truncate(path, draw.choice((durable, durable, draw.randint(durable, size))))
        if draw.random() < 0.6 and name.endswith(".zst"):
            with open(path, "ab") as file:
                file.write(garbage(draw))
    for name, (number, durable) in gone.items():
        path, back = os.path.join(site.spool, name), os.path.join(site.limbo, str(number))
        if os.path.exists(back) and not os.path.exists(path) and draw.random() < 0.5:
            shutil.copy(back, path)
            os.truncate(path, min(durable, os.path.getsize(path)))
    ledger.settle(site.ledger, site.spool)


@fault("power of a probe lost", "site", weight=3)
def probe_power(world, draw, site):
    site.kill()
    lose_power(draw, site)
    site.restart()


@fault("power of a probe lost while black-holed", "site", "net", weight=2)
def probe_power_away(world, draw, site):
    world.disconnect(site.name)
    try:
        pause(world, draw, 1, 20)
        site.kill()
        lose_power(draw, site)
        site.restart()
        pause(world, draw, 0.1, 5)
    finally:
        world.connect(site.name)


@fault("probe's disk full", "site", weight=2)
def probe_disk_full(world, draw, site):
    site.fill_disk(draw.choice((0, 5000, 60000)))
    try:
        pause(world, draw, 1, 20)
    finally:
        site.empty_disk()


@fault("probe's disk full, and killed", "site")
def probe_disk_full_killed(world, draw, site):
    site.fill_disk(draw.choice((0, 5000, 60000)))
    try:
        pause(world, draw, 1, 10)
        site.kill()
    finally:
        site.restart()


@fault("probe's disk failing", "site", weight=2)
def probe_disk_failing(world, draw, site):
    site.control.set(suffix=b".zst", write_errno=draw.choice((errno.EIO, errno.ENOSPC)),
                     sync_errno=errno.EIO)
    if draw.random() < 0.5:
        site.control.set(sync_n=draw.choice((1, 3, -1)))
    else:
        site.control.set(write_n=draw.choice((1, 3, -1)))
    try:
        pause(world, draw, 1, 15)
    finally:
        site.control.calm()


@fault("probe's disk slow", "site")
def probe_disk_slow(world, draw, site):
    site.control.set(sync_delay_ms=draw.randrange(200, 3000))
    try:
        pause(world, draw, 2, 15)
    finally:
        site.control.calm()


@fault("probe's clock stepped", "site", weight=2)
def probe_clock(world, draw, site):
    site.control.set(clock_step_ms=draw.choice((-1, 1)) * draw.randrange(10000, 7200000))
    try:
        pause(world, draw, 2, 15)
        if draw.random() < 0.5:
            site.kill()
            site.restart()
    finally:
        site.control.set(clock_step_ms=0)


@fault("spool put back to an older copy", "site", "net")
def probe_rolled_back(world, draw, site):
    copy = os.path.join(site.folder, "copy")
    site.kill()
    shutil.copytree(site.spool, copy)
    site.restart()
    pause(world, draw, 2, 12)
    site.kill()
    then = ledger.folder_places(site.spool)
    shutil.rmtree(site.spool)
    os.rename(copy, site.spool)
    world.excuses.destroyed |= set(then) - set(ledger.folder_places(site.spool))
    ledger.settle(site.ledger, site.spool)
    site.restart()


@fault("state and spool cloned", "site", "net")
def probe_cloned(world, draw, site):
    if any(clone.namespace == site.namespace for clone in world.clones):
        return "it has a clone"
    twin = world.clone(site)
    world.tell(f"rate wire{twin.number} {world.rate:.1f}")
    try:
        pause(world, draw, 5, 15)
    finally:
        world.tell(f"rate wire{twin.number} 0")
    time.sleep(2)
    # it stays; it ends with the campaign


@fault("a batch that cannot be decoded", "site", weight=2)
def probe_undecodable(world, draw, site):
    before = site.control.get("done")
    n = draw.randint(1, 3)
    site.control.set(garbage_n=n)
    wait_for("garbage was made", lambda: site.control.get("done") >= before + n)


@fault("a record damaged on the disk", "site", "net", weight=2)
def probe_damaged(world, draw, site):
    world.disconnect(site.name)
    try:
        pause(world, draw, 2, 8)
        site.kill()
        places = ledger.folder_places(site.spool)
        # the last of an epoch is a torn tail: what it held cannot be known
        ends = {}
        for epoch, sequence in places:
            ends[epoch] = max(ends.get(epoch, 0), sequence)
        choice = sorted(place for place in places if place[1] < ends[place[0]])
        if choice:
            place = draw.choice(choice)
            path, begin, end = places[place]
            with open(path, "r+b") as file:
                at = draw.randrange(begin, end)
                file.seek(at)
                byte = file.read(1)[0]
                file.seek(at)
                file.write(bytes((byte ^ 1 << draw.randrange(8),)))
            world.excuses.unreadable.add(place)
            ledger.settle(site.ledger, site.spool)
    finally:
        world.connect(site.name)
        site.restart()
    return None if choice else "the spool held too little"


@fault("an outage longer than the spool holds", "site", "net")
def spool_limit(world, draw, _):
    site = world.limited
    world.disconnect(site.name)
    world.tell(f"burst wire{site.number} {world.burst}")
    try:
        pause(world, draw, 8, 20)
    finally:
        world.connect(site.name)


# ------------------------------------------------------------------------------------- both

@fault("hub and probe killed together", "hub", "site", weight=3)
def both_killed(world, draw, site):
    world.hub.kill()
    site.kill()
    pause(world, draw, 0.1, 5)
    if draw.random() < 0.5:
        world.hub.start(wait=False)
    site.restart()
    if not world.hub.running():
        world.hub.start(wait=False)
    wait_for("the hub answers", world.hub.answers, 60)


@fault("hub frozen, probe killed", "hub", "site")
def frozen_killed(world, draw, site):
    world.hub.signal(signal.SIGSTOP)
    try:
        site.kill()
        pause(world, draw, 1, 10)
        site.restart()
        pause(world, draw, 1, 10)
    finally:
        world.hub.signal(signal.SIGCONT)


@fault("probe killed while black-holed", "site", "net", weight=2)
def hole_killed(world, draw, site):
    world.disconnect(site.name)
    try:
        pause(world, draw, 1, 15)
        site.kill()
        site.restart()
        pause(world, draw, 1, 15)
    finally:
        world.connect(site.name)


@fault("hub killed while black-holed", "hub", "net", weight=2)
def hole_hub_killed(world, draw, site):
    world.disconnect(site.name)
    try:
        pause(world, draw, 1, 10)
        world.hub.kill()
        pause(world, draw, 0.1, 5)
        world.hub.start()
    finally:
        world.connect(site.name)


@fault("power of a probe lost, hub killed", "hub", "site")
def power_both(world, draw, site):
    world.hub.kill()
    site.kill()
    lose_power(draw, site)
    site.restart()
    pause(world, draw, 0.1, 5)
    world.hub.start()


# ------------------------------------------------------------------ what the hub changes of itself
# and of its probes, with kills in the middle

def killed_within(world, draw, site, act):
    """While `act` is under way, or soon after: the hub is killed, the probe, both, or nobody"""
    def attempt():
        try:
            act()
        except (OSError, ValueError):  # the hub went away while it was asked
            pass
    attempted = threading.Thread(target=attempt)
    attempted.start()
    time.sleep(2 * draw.random() ** 3)
    hub, probe = draw.choice(((True, False), (False, True), (True, True), (False, False)))
    if hub:
        world.hub.kill()
    if probe:
        site.kill()
    attempted.join()
    if hub:
        world.hub.start()
    if probe:
        site.restart()


ALL_BACK_S = 240  # the longest outage of a network, a full disk, and time to come back


def key_state(world):
    return world.hub.get("/server-key")["state"]


def all_confirmed(world):
    now = world.hub.get("/server-key")
    return not now["unconfirmed"] and now["confirmed"] > 0


def hand_over(world, draw, site):
    """The next key is made, and every probe has it; what it is"""
    def make():
        return world.hub.ask("POST", "/server-key/next", {})
    killed_within(world, draw, site, make)
    if key_state(world) == "single":  # killed before it was made
        status, answer = make()
        check(status == 200, f"the next server key: {status} {answer}")
    wait_for("every probe confirms the next server key", lambda: all_confirmed(world), ALL_BACK_S)
    return world.hub.get("/server-key")["next_public_key"]


@fault("hub's server key changed, with kills", "hub", "site", weight=2)
def server_key_changed(world, draw, site):
    key = hand_over(world, draw, site)
    if draw.random() < 0.5:  # those who come back use it already
        killed_within(world, draw, site, lambda: time.sleep(2))

    def finish():
        if key_state(world) == "single":
            return True
        status, answer = world.hub.ask("POST", "/server-key/finish", {})
        check(status == 200 or answer["error"]["code"] == "unconfirmed", f"finish: {answer}")
        return False
    killed_within(world, draw, site, finish)
    wait_for("the change of the server key is finished", finish, ALL_BACK_S)
    now = world.hub.get("/server-key")["public_key"]
    check(now == key, f"the hub's key is {now}, handed over was {key}")


@fault("hub's next server key taken back, with kills", "hub", "site")
def server_key_taken_back(world, draw, site):
    before = world.hub.get("/server-key")["public_key"]
    hand_over(world, draw, site)
    killed_within(world, draw, site, lambda: time.sleep(2))

    def take_back():
        if key_state(world) == "single":
            return True
        world.hub.ask("DELETE", "/server-key/next")
        return False
    killed_within(world, draw, site, take_back)
    wait_for("the next server key is taken back", take_back, 60)
    now = world.hub.get("/server-key")["public_key"]
    check(now == before, f"the hub's key is {now}, before it was {before}")


def some_settings(draw):
    """That change no flow: not what is metered, and each packet stays a flow of its own"""
    settings = {"filter": draw.choice(("", "ip", "udp", "not tcp", "less 1500")),
                "idle_s": draw.randint(1, 3), "active_s": draw.randint(10, 120),
                "template": draw.choice(("all", "v9"))}
    return {name: settings[name] for name in settings if draw.random() < 0.7}


@fault("a probe's configuration changed, with kills", "hub", "site", "net", weight=2)
def configuration_changed(world, draw, site):
    names = (site.name, f"site{CLONES + site.number}")  # a clone has its original's key
    key = next(probe["key"] for probe in world.hub.get("/probes") if probe["name"] in names)
    path = f"/probes/{urllib.parse.quote(key, safe='')}/configuration"
    for _ in range(draw.randint(1, 3)):
        settings = some_settings(draw)
        killed_within(world, draw, site, lambda: world.hub.ask("PUT", path, settings))
        status, answer = world.hub.ask("PUT", path, settings)  # once more changes nothing
        check(status == 200, f"PUT {path}: {status} {answer}")

        def running():
            now = world.hub.get(path)
            return now["state"] == "confirmed" and settings.items() <= now["running"].items()
        wait_for(f"{site.name} runs with {settings}", running, 90)
