# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests share: a lab with its own folder, ports and network namespaces, hubs
and probes started in it, and questions asked of a hub. Everything started here is ended here."""
import collections
import fcntl
import itertools
import json
import os
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.error
import urllib.parse
import urllib.request

BUILD = os.path.abspath(os.environ.get("WEIR_BUILD", "build"))
SOURCE = os.path.abspath(os.environ.get("WEIR_SOURCE", "."))
HUB = os.path.join(BUILD, "weir-hub")
PROBE = os.path.join(BUILD, "weir-probe")
LICENSE = os.path.join(BUILD, "weir-license")
# a build with sanitizers takes its time
SLOW = 4 if "asan" in BUILD or "tsan" in BUILD else 1

# what differs between two runs over one capture, or is set by the hub
OWN_FIELDS = {"flow_id", "probe", "interface", "received_ms"}


class Failure(Exception):
    pass


def check(condition, text):
    if not condition:
        raise Failure(text)


def same(got, expected, what):
    check(got == expected, f"{what}: {got!r}, expected {expected!r}")


def wait_for(what, condition, limit_s=20):
    """The first true value of condition()."""
    end = time.monotonic() + limit_s * SLOW
    last = None
    while time.monotonic() < end:
        try:
            value = condition()
            if value:
                return value
        except (OSError, ValueError, Failure) as error:
            last = error
        time.sleep(0.1)
    raise Failure(f"not within {limit_s * SLOW} s: {what}" + (f" ({last})" if last else ""))


class Ports:
    """Ports that no other test takes: each process has a stretch of its own, below those that the
    kernel gives to connections."""
    FIRST, EACH, STRETCHES = 10000, 150, 150

    def __init__(self):
        self.lock = self.next = self.end = None

    def take_stretch(self):
        folder = os.path.join(tempfile.gettempdir(), "weir-test-ports")
        os.makedirs(folder, exist_ok=True)
        for stretch in random.sample(range(self.STRETCHES), self.STRETCHES):
            lock = open(os.path.join(folder, str(stretch)), "w")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                lock.close()
                continue
            self.lock = lock  # until the process ends
            self.next = self.FIRST + stretch * self.EACH
            self.end = self.next + self.EACH
            return
        raise Failure("all stretches of ports are taken")

    def take(self, n):
        if self.next is None or self.next + n > self.end:
            self.take_stretch()
        first = self.next
        self.next += n
        for port in range(first, first + n):
            with socket.socket() as one:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    one.bind(("", port))
                except OSError:
                    return self.take(n)
        return first


PORTS = Ports()


def free_ports(n=2):
    """n ports in a row that nobody has now, and no other test takes."""
    return PORTS.take(n)


def in_namespace(namespace, command):
    return ["ip", "netns", "exec", namespace, *command] if namespace else list(command)


def issue(path, *options, kind="cloud", probes=10000, expires="30d", customer="Test"):
    """A licence signed with the evaluation key, which everybody has and only a default build
    trusts."""
    with tempfile.NamedTemporaryFile("w", prefix="weir-e2e-") as passphrase:
        passphrase.write("evaluation\n")
        passphrase.flush()
        seats = ["--probes", str(probes)] if kind == "cloud" else []
        run = subprocess.run([LICENSE, "issue", "--key", os.path.join(SOURCE, "licences", "evaluation.key"),
                              "--passphrase-file", passphrase.name, "--kind", kind, "--customer", customer,
                              "--expires", expires, *seats, *options, "-o", path],
                             capture_output=True, text=True)
    check(run.returncode == 0, f"weir-license issue: {run.stderr}")
    with open(path) as file:
        return file.read()


class Program:
    """One started daemon with its log."""

    def __init__(self, name, command, log_path, namespace=None, stdout=None, stdin=subprocess.DEVNULL):
        self.name, self.log_path = name, log_path
        self.log_file = open(log_path, "ab")
        self.process = subprocess.Popen(in_namespace(namespace, command), stdin=stdin,
                                        stdout=stdout or self.log_file, stderr=self.log_file)

    def log(self):
        with open(self.log_path, errors="replace") as file:
            return file.read()

    def complaints(self):
        """What a sanitizer had to say, from its first line on."""
        log = self.log()
        found = re.search(r"(ERROR|WARNING): \w+Sanitizer|runtime error:", log)
        return [f"{self.name}: {log[found.start():][:3000]}"] if found else []

    def running(self):
        return self.process.poll() is None

    def kill(self):
        if self.running():
            self.process.kill()
        self.process.wait()

    def stop(self, limit_s=30):
        """SIGTERM and the exit code."""
        if self.running():
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(limit_s * SLOW)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} does not stop; its log:\n{self.log()[-3000:]}") from None

    def wait(self, limit_s):
        try:
            return self.process.wait(limit_s * SLOW)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} did not end; its log:\n{self.log()[-3000:]}") from None


class Hub(Program):
    def __init__(self, lab, *options, name="hub", data_dir=None, namespace=None, wait=True,
                 interfaces=None, web_port=None, prefix=()):
        self.lab, self.namespace = lab, namespace
        self.data_dir = data_dir or lab.path(name)
        self.port = None
        if interfaces is None:
            self.port = free_ports(2)
            interfaces = ["-i", f"tcp://127.0.0.1:{self.port}c"]
        self.web_port = web_port or (3000 if namespace else free_ports(1))
        self.command = [*prefix, HUB, *interfaces, "--data-dir", self.data_dir, "-w", str(self.web_port),
                        *options]
        if "--disable-login" not in options and "-W" not in options:
            self.command.append("--disable-login")
        super().__init__(name, self.command, lab.path(name + ".log"), namespace)
        if wait:
            self.wait_ready()

    def wait_ready(self):
        def ready():
            check(self.running(), f"{self.name} ended: {self.log()[-3000:]}")
            return self.get("/health")["ok"]
        wait_for(f"{self.name} answers", ready)

    def again(self):
        """The same hub once more, after it ended."""
        self.process = subprocess.Popen(in_namespace(self.namespace, self.command),
                                        stdin=subprocess.DEVNULL, stdout=self.log_file,
                                        stderr=self.log_file)
        self.wait_ready()

    def fetch(self, path, **query):
        """Status and body of a GET."""
        query = {k.rstrip("_"): v for k, v in query.items() if v is not None}
        url = f"http://127.0.0.1:{self.web_port}{path}"
        if query:
            url += "?" + urllib.parse.urlencode(query)
        if self.namespace:
            run = subprocess.run(in_namespace(self.namespace, [
                "curl", "-s", "-m", "30", "-w", "\n%{http_code}", url]), capture_output=True)
            body, _, status = run.stdout.rpartition(b"\n")
            if run.returncode:
                raise OSError(f"curl: {run.returncode}")
            return int(status), body
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def get(self, path, **query):
        status, body = self.fetch("/api/v1" + path, **query)
        check(status == 200, f"GET {path}: {status} {body[:500]!r}")
        return json.loads(body)

    def key(self):
        return self.get("/interfaces/1")["public_key"]

    def flows(self, filter_=None):
        """Every flow, page by page."""
        found = []
        while True:
            page = self.get("/flows", from_=0, limit=1000, offset=len(found), filter=filter_,
                            to=2 ** 43, sort="first_ms")
            found += page["flows"]
            if not page["flows"]:
                check(len(found) == page["total"], f"total {page['total']}, {len(found)} flows")
                return found

    def probe(self, **members):
        """The one probe that has these members."""
        for probe in self.get("/probes"):
            if all(probe.get(k) == v for k, v in members.items()):
                return probe
        return None

    def options_for_probe(self, interface=1):
        """From the command that the hub shows; the part after -i <interface>."""
        words = shlex.split(self.get(f"/interfaces/{interface}")["probe_command"])
        check(words[:3] == ["weir-probe", "-i", "<interface>"], f"command begins {words[:3]}")
        return words[3:]


class Lab:
    licence_text = ""  # signing takes half a second: once a run

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="weir-e2e-")
        os.chmod(self.folder, 0o755)  # for probes, which give up being root
        self.programs, self.namespaces = [], []
        self.names = itertools.count()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if error and not isinstance(error, (KeyboardInterrupt, SystemExit)):
            for program in self.programs:
                print(f"--- log of {program.name}:\n{program.log()[-2500:]}")
        complaints = []
        for program in reversed(self.programs):
            try:
                program.kill()
                program.log_file.close()
                complaints += program.complaints()
            except OSError:
                pass
        for namespace in self.namespaces:
            subprocess.run(["ip", "netns", "del", namespace], capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        if complaints and error:
            print("a sanitizer speaks:\n" + "\n".join(complaints))
        elif complaints:
            raise Failure("a sanitizer speaks:\n" + "\n".join(complaints))

    def path(self, name):
        return os.path.join(self.folder, name)

    def licence(self):
        """For more probes than a test has; without one a hub has seats for two."""
        path = self.path("hub.license")
        if not Lab.licence_text:
            Lab.licence_text = issue(path)
        with open(path, "w") as file:
            file.write(Lab.licence_text)
        return path

    def hub(self, *options, **more):
        """With seats for all its probes, unless --license is among the options."""
        more.setdefault("name", f"hub{next(self.names)}")
        if "--license" not in options:
            options = (*options, "--license", self.licence())
        program = Hub(self, *options, **more)
        self.programs.append(program)
        return program

    def probe(self, *options, name=None, namespace=None, data_dir=None, stdin=subprocess.DEVNULL):
        name = name or f"probe{next(self.names)}"
        command = [PROBE, *options, "--data-dir", data_dir or self.path(name)]
        program = Program(name, command, self.path(name + ".log"), namespace, stdin=stdin)
        self.programs.append(program)
        return program

    def start(self, name, *command, namespace=None):
        program = Program(name, command, self.path(name + ".log"), namespace)
        self.programs.append(program)
        return program

    def namespace(self):
        name = f"weir-e2e-{os.getpid()}-{len(self.namespaces)}"
        subprocess.run(["ip", "netns", "add", name], check=True)
        self.namespaces.append(name)
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        return name

    def cable(self, end_a, end_b):
        """A veth pair between two (namespace, interface, address or None)."""
        (ns_a, if_a, ip_a), (ns_b, if_b, ip_b) = end_a, end_b
        subprocess.run(["ip", "-n", ns_a, "link", "add", if_a, "type", "veth", "peer", "name",
                        if_b, "netns", ns_b], check=True)
        for namespace, interface, address in ((ns_a, if_a, ip_a), (ns_b, if_b, ip_b)):
            # nothing but the test's own packets: no neighbour discovery
            subprocess.run(in_namespace(namespace, [
                "sysctl", "-qw", f"net.ipv6.conf.{interface}.disable_ipv6=1"]),
                capture_output=True)
            if address:
                subprocess.run(["ip", "-n", namespace, "addr", "add", address, "dev", interface],
                               check=True)
            subprocess.run(["ip", "-n", namespace, "link", "set", interface, "up"], check=True)


def captures():
    folder = os.path.join(SOURCE, "test", "golden")
    return sorted(os.path.join(folder, name) for name in os.listdir(folder)
                  if name.endswith((".pcap", ".pcapng")))


def offline(lab, capture, *options):
    """The flows of a capture as weir-probe --json writes them."""
    run = subprocess.run([PROBE, "-i", capture, "--json", "-", "--data-dir",
                          lab.path("offline"), *options], capture_output=True, timeout=120 * SLOW)
    check(run.returncode == 0, f"weir-probe --json: {run.returncode} {run.stderr[-500:]!r}")
    return [json.loads(line) for line in run.stdout.splitlines()]


def comparable(flows):
    """A multiset of flows without what two runs may differ in."""
    return collections.Counter(
        json.dumps({k: v for k, v in flow.items() if k not in OWN_FIELDS}, sort_keys=True)
        for flow in flows)


def totals(flows):
    names = ("packets", "rev_packets", "octets", "rev_octets")
    return {name: sum(flow[name] for flow in flows) for name in names} | {"flows": len(flows)}


def same_flows(got, expected, what):
    got, expected = comparable(got), comparable(expected)
    if got != expected:
        missing = list((expected - got).elements())[:3]
        extra = list((got - expected).elements())[:3]
        raise Failure(f"{what}: {sum(got.values())} flows, expected {sum(expected.values())}\n"
                      f"  missing: {missing}\n  extra:   {extra}")


def matches(value, schema, root, at="$"):
    """The first way in which a value does not fit a schema of the API document, or None."""
    if "$ref" in schema:
        target = root
        for step in schema["$ref"][2:].split("/"):
            target = target[step]
        return matches(value, target, root, at)
    if "allOf" in schema:  # closed objects that extend each other: their members together
        merged = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
        for part in schema["allOf"]:
            while "$ref" in part:
                part = root["components"]["schemas"][part["$ref"].rsplit("/", 1)[1]]
            merged["properties"].update(part.get("properties", {}))
            merged["required"] += part.get("required", [])
        return matches(value, merged, root, at)
    if "oneOf" in schema:
        wrongs = [matches(value, part, root, at) for part in schema["oneOf"]]
        return None if None in wrongs else wrongs[0]
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool,
             "integer": int, "number": (int, float), "null": type(None)}
    kind = schema.get("type")
    if isinstance(kind, list):
        wrongs = [matches(value, {**schema, "type": one}, root, at) for one in kind]
        return None if None in wrongs else wrongs[0]
    if kind and (not isinstance(value, kinds[kind])
                 or (kind in ("integer", "number") and isinstance(value, bool))):
        return f"{at} is {value!r}, not of type {kind}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{at} is {value!r}, not one of {schema['enum']}"
    if kind == "object":
        known = schema.get("properties", {})
        for name in schema.get("required", []):
            if name not in value:
                return f"{at}.{name} is missing"
        for name, member in value.items():
            if name in known:
                wrong = matches(member, known[name], root, f"{at}.{name}")
                if wrong:
                    return wrong
            elif schema.get("additionalProperties") is False:
                return f"{at}.{name} is not in the document"
    if kind == "array":
        for i, item in enumerate(value):
            wrong = matches(item, schema.get("items", {}), root, f"{at}[{i}]")
            if wrong:
                return wrong
    return None


def main(tests):
    """Runs functions that take a lab; names as arguments choose. Needs root for namespaces."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    failed = 0
    chosen = [t for t in tests if not sys.argv[1:] or any(n in t.__name__ for n in sys.argv[1:])]
    for test in chosen:
        start = time.monotonic()
        try:
            with Lab() as lab:
                test(lab)
            word = "ok"
        except Exception as error:
            failed += 1
            word = "FAIL"
            if isinstance(error, Failure):
                print(f"{test.__name__}: {error}")
            else:
                traceback.print_exc(file=sys.stdout)
        print(f"{word:4}  {test.__name__}  ({time.monotonic() - start:.1f} s)", flush=True)
    print(f"{len(chosen) - failed} passed, {failed} failed")
    sys.exit(1 if failed or not chosen else 0)
