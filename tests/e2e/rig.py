# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet for tests: programs kept running as a service manager would, keys, namespaces, and what must
hold afterwards. PLIMSOLL_BIN is the folder of the programs."""
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid

TREE = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
BIN = os.environ.get("PLIMSOLL_BIN", os.path.join(TREE, "build", "dev", "bin"))
IMAGES = os.environ.get("PLIMSOLL_IMAGES", "/var/lib/plimsoll/images")
HOST_STATE = os.path.join(TREE, "deploy", "host-state")
SKIPPED = 77
STEP_S = 0.02
AGENTS_FOLDER = "/run/plimsoll/agents"


class Failure(Exception):
    """What a test found wrong."""


def skip(reason):
    print(f"SKIPPED: {reason}", flush=True)
    sys.exit(SKIPPED)


def say(text):
    print(text, flush=True)


def expect(condition, text):
    if not condition:
        raise Failure(text)


def wait_until(what, condition, limit_s, meanwhile=None):
    """The condition's first true value; Failure after limit_s seconds."""
    deadline = time.monotonic() + limit_s
    while True:
        value = condition()
        if value:
            return value
        expect(time.monotonic() < deadline, f"{what}: not within {limit_s} s")
        if meanwhile:
            meanwhile()
        time.sleep(STEP_S)


def read(path):
    try:
        with open(path, "rb") as f:
            return f.read().decode("utf-8", "replace")
    except OSError:
        return ""


def write(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return path


def pids():
    return [int(p) for p in os.listdir("/proc") if p.isdigit()]


def parent_of(pid):
    found = re.search(r"^PPid:\s*(\d+)", read(f"/proc/{pid}/status"), re.M)
    return int(found.group(1)) if found else 0


def state_of(pid):
    found = re.search(r"^State:\s*(\S)", read(f"/proc/{pid}/status"), re.M)
    return found.group(1) if found else ""


def name_of(pid):
    return read(f"/proc/{pid}/comm").strip()


def children_of(pid, name):
    return [p for p in pids() if parent_of(p) == pid and name_of(p) == name and state_of(p) != "Z"]


def need_root_and_image():
    if os.geteuid() != 0:
        skip("needs root, for containers")
    if not any(n.startswith("recipe-") for n in (os.listdir(IMAGES) if os.path.isdir(IMAGES) else [])):
        skip(f"no image in {IMAGES}: build it with `coordctl images plans/quickstart.plan --build`")


class Namespace:
    """A host: a network namespace, and mounts of its own with a /sys that shows its network devices, since
    liblxc looks for bridges there. A process holds it."""

    SCRIPT = ("mount --rbind /sys/fs/cgroup /mnt && mount -t sysfs sysfs /sys && "
              "mount --move /mnt /sys/fs/cgroup && echo made && exec sleep infinity")

    def __init__(self, name, address, outside, bridge):
        self.name, self.address, self.outside = name, address, outside
        self.holder = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "--mount", "--propagation", "slave",
             "sh", "-c", self.SCRIPT], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said = self.holder.stdout.readline()
        expect(said == "made\n", f"no namespace: {said}")
        run("ip", "link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", str(self.holder.pid))
        run("ip", "link", "set", outside, "master", bridge, "up")
        for words in (["link", "set", "lo", "up"], ["addr", "add", f"{address}/24", "dev", "eth0"],
                      ["link", "set", "eth0", "up"]):
            run(*self.enter(), "ip", *words)
        self.before = self.things()

    def enter(self):
        # Its root is named, since where the test itself runs in a chroot, its namespace's is another.
        return ["nsenter", f"--target={self.holder.pid}", "--net", "--mount", "--root"]

    def things(self):
        """Its network devices and mounts."""
        links = json.loads(run(*self.enter(), "ip", "-j", "link", "show").stdout)
        mounts = [line.split()[4] for line in read(f"/proc/{self.holder.pid}/mountinfo").splitlines()]
        return {f"link {link['ifname']}" for link in links} | {f"mount {point}" for point in mounts}

    def new(self):
        return sorted(self.things() - self.before)

    def remove(self):
        self.holder.kill()
        self.holder.wait()
        self.holder.stdout.close()
        # The kernel would remove the pair too, but some time later.
        run("ip", "link", "del", self.outside, check=False)


class Service:
    """A program that is started again whenever it ends, until it is stopped."""

    def __init__(self, rig, name, argv, netns=None):
        self.rig, self.name = rig, name
        self.enter = netns.enter() if netns else []
        self.argv = self.enter + argv
        self.log = os.path.join(rig.folder, f"{name}.log")
        self.starts, self.wanted, self.process = 0, True, None
        self.killed = set()
        self.start()

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=self.rig.env, cwd=self.rig.folder)
        self.starts += 1

    def keep(self):
        code = self.process.poll()
        if code is None or not self.wanted:
            return
        expect(self.process.pid in self.killed,
               f"{self.name} ended by itself with {code}:\n{read(self.log)[-3000:]}")
        self.start()

    def kill(self):
        self.killed.add(self.process.pid)
        self.process.kill()
        self.process.wait()

    def stop(self, limit_s=60):
        """In order; its exit code."""
        self.wanted = False
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(limit_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise Failure(f"{self.name} did not end within {limit_s} s of SIGTERM:\n"
                              f"{read(self.log)[-3000:]}") from None
        return self.process.returncode


class Command:
    """A coordctl that runs meanwhile."""

    def __init__(self, rig, words, conf, netns):
        self.rig, self.words = rig, " ".join(words)
        env = dict(rig.env, **({"PLIMSOLL_CLIENT_CONF": conf} if conf else {}))
        inside = netns or rig.client_netns
        argv = (inside.enter() if inside else []) + [rig.program("coordctl"), *words]
        self.files = [tempfile.TemporaryFile(dir=rig.folder) for _ in range(2)]
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=self.files[0],
                                        stderr=self.files[1], env=env)

    def ended(self):
        return self.process.poll() is not None

    def said(self):
        """(output, error) so far."""
        return tuple(os.pread(f.fileno(), 64 << 20, 0).decode() for f in self.files)

    def finish(self, code=0, limit_s=120):
        """Waits for its end while the services are kept; its (output, error). `code` None: any."""
        try:
            wait_until(f"coordctl {self.words}", self.ended, limit_s, self.rig.keep)
        finally:
            self.stop()
        texts = self.said()
        for f in self.files:
            f.close()
        got = self.process.returncode
        expect(code in (None, got), f"coordctl {self.words}: exit code {got}, wanted {code}; it said:\n"
               + texts[0][-3000:] + texts[1][-3000:])
        return texts

    def stop(self):
        if not self.ended():
            self.process.kill()
            self.process.wait()


class Rig:
    """A folder, services, namespaces; all of it gone at the end. Use it with `with`."""

    def __init__(self):
        self.token = uuid.uuid4().hex
        self.folder = tempfile.mkdtemp(prefix="plimsoll-e2e-")
        self.env = dict(os.environ, PLIMSOLL_E2E=self.token, PLIMSOLL_IMAGES=IMAGES,
                        PLIMSOLL_RUNS=os.path.join(self.folder, "runs"),
                        PLIMSOLL_CLIENT_CONF=os.path.join(self.folder, "client.conf"))
        self.services, self.commands, self.agents, self.netnses, self.bridge = [], [], {}, [], None
        self.client_netns = None
        self.alone = not self.foreign()
        self.before = os.path.join(self.folder, "host-state")
        with open(self.before, "wb") as f:
            subprocess.run([HOST_STATE], stdout=f, check=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        failed = kind is not None
        if failed:
            self.tell_logs()
        try:
            self.end()
            if not failed:
                self.host_is_as_before()
        except Failure as e:
            if not failed:
                raise
            say(f"and at the end: {e}")
        finally:
            if failed:
                self.clean_up()
            if not failed or not os.environ.get("PLIMSOLL_E2E_KEEP"):
                shutil.rmtree(self.folder, ignore_errors=True)

    def clean_up(self):
        """After a failure, while the folder is there: what undoes the work of killed agents is in it."""
        try:
            wait_until("the end of the rig's programs", lambda: not self.mine(), 60)
        except Failure as e:
            say(f"and at the end: {e}: {', '.join(self.mine())}")
        say(run(self.program("plimsoll-agent"), "--clean", check=False).stdout)

    # ---- Programs ----

    def program(self, name):
        return os.path.join(BIN, name)

    def keep(self):
        for s in self.services:
            s.keep()

    def serve(self, name, argv, netns=None):
        s = Service(self, name, argv, netns)
        self.services.append(s)
        return s

    def begin(self, *words, conf=None, netns=None):
        """Starts a coordctl; it is killed at the latest with the rig."""
        command = Command(self, words, conf, netns)
        self.commands.append(command)
        return command

    def coordctl(self, *words, code=0, limit_s=120, conf=None, netns=None):
        """Runs it to its end while the services are kept; its (output, error)."""
        return Command(self, words, conf, netns).finish(code, limit_s)

    # ---- A fleet ----

    def make_keys(self, address):
        self.keys = os.path.join(self.folder, "keys")
        os.mkdir(self.keys, 0o700)
        self.address = address
        self.public = self.coordctl("keys", "make", "--keys", self.keys)[0].strip()
        self.client_conf("client")
        self.allow("client", "client")

    def make_key(self, name):
        path = os.path.join(self.folder, f"{name}.key")
        return path, self.coordctl("keys", "make", path)[0].strip()

    def client_conf(self, name, server=None):
        path, self.client_public = self.make_key(name)
        return write(os.path.join(self.folder, f"{name}.conf"),
                     f'coordinator = "tcp://{self.address}:{self.ports()[1]}"\n'
                     f'coordinator_key = "{server or self.public}"\nkey = "{path}"\nname = "{name}"\n')

    def allow(self, role, name, public=None):
        self.coordctl("keys", "allow", f"--{role}", name, public or self.client_public, "--keys", self.keys)

    def ports(self):
        """Fixed for the rig's life, since a coordinator that is started again must be found again."""
        if not hasattr(self, "_ports"):
            import socket
            with socket.socket() as a, socket.socket() as b:
                a.bind(("127.0.0.1", 0))
                b.bind(("127.0.0.1", 0))
                self._ports = a.getsockname()[1], b.getsockname()[1]
        return self._ports

    def start_coordinator(self, netns=None, more="", store=None):
        agents, clients = self.ports()
        self.store = store or os.path.join(self.folder, "store.db")
        conf = write(os.path.join(self.folder, "coordinator.conf"),
                     f'agents = "tcp://{self.address}:{agents}"\nclients = "tcp://{self.address}:{clients}"\n'
                     f'keys = "{self.keys}"\nstore = "{self.store}"\n{more}')
        self.coordinator = self.serve("coordinator", [self.program("plimsoll-coordinator"), "--config", conf], netns)

    def start_agent(self, name, netns=None, allow=True, more="", says=None, key=None):
        """`says` is the name it gives, where that is not its own; `key` the path of another one's key."""
        path, public = (key, None) if key else self.make_key(name)
        if allow and not key:
            self.allow("agent", name, public)
        state = os.path.join(self.folder, f"agent-{name}")
        conf = write(os.path.join(self.folder, f"agent-{name}.conf"),
                     f'name = "{says or name}"\ncoordinator = "tcp://{self.address}:{self.ports()[0]}"\n'
                     f'coordinator_key = "{self.public}"\nkey = "{path}"\nstate = "{state}"\n'
                     f'images = "{IMAGES}"\nallow_fake = true\nallow_process = true\n{more}')
        agent = self.serve(f"agent-{name}", [self.program("plimsoll-agent"), "--config", conf], netns)
        agent.public = public
        self.agents[name] = agent
        return agent

    def submit(self, plan):
        return self.coordctl("submit", plan)[0].split()[0]

    def plan(self, name, text):
        return write(os.path.join(self.folder, f"{name}.plan"), text)

    # ---- Namespaces ----

    def add_network(self, names):
        """A bridge, and a namespace with an address 10.61.0.N for each name; {name: namespace}."""
        tag = self.token[:6]
        self.bridge = f"e2e{tag}"
        run("ip", "link", "add", self.bridge, "type", "bridge")
        run("ip", "link", "set", self.bridge, "up")
        made = {}
        for i, name in enumerate(names, 1):
            made[name] = Namespace(name, f"10.61.0.{i}", f"e{tag}{i}", self.bridge)
            self.netnses.append(made[name])
        return made

    # ---- What must hold ----

    def accepted(self, campaign):
        """{trial: number of accepted results} of the store, trials without any included."""
        if not os.path.exists(self.store):
            return {}
        with sqlite3.connect(f"file:{self.store}?mode=ro", uri=True, timeout=10) as db:
            rows = db.execute("SELECT t.trial, COUNT(r.number) FROM trial t LEFT JOIN result r ON"
                              " r.campaign = t.campaign AND r.trial = t.trial AND r.accepted = 1"
                              " WHERE t.campaign = ? GROUP BY t.trial", (campaign,)).fetchall()
        db.close()
        return dict(rows)

    def count(self, campaign):
        return sum(1 for n in self.accepted(campaign).values() if n)

    def every_trial_has_one_result(self, campaign, trials):
        stored = self.accepted(campaign)
        expect(len(stored) == trials, f"{len(stored)} trials in the store, wanted {trials}")
        wrong = {t: n for t, n in stored.items() if n != 1}
        expect(not wrong, f"trials with another number of accepted results than one: {wrong}")
        report = json.loads(self.coordctl("report", campaign, "--format", "json")[0])
        numbers = sorted(r["trial"] for r in report["results"] if r["accepted"])
        expect(numbers == sorted(stored), f"accepted in the report: {numbers}; in the store: {sorted(stored)}")
        verdict = report["verdict"]
        expect(verdict["trials"] == trials and verdict["trials_missing"] == 0 and verdict["exit_code"] == 0
               and report["campaign"]["state"] == "done", f"the report's verdict: {verdict}, {report['campaign']['state']}")
        for r in report["results"]:
            if r["accepted"]:
                start = [s for s in r["samples"] if s["metric"] == "start"]
                expect(len(start) == 1 and start[0]["value"] > 0, f"trial {r['trial']}: start is {start}")
        return report

    def mine(self):
        """Processes that any program of this rig has started."""
        needle = f"PLIMSOLL_E2E={self.token}"
        return [f"{p} {name_of(p)}" for p in pids()
                if needle in read(f"/proc/{p}/environ") and state_of(p) != "Z"]

    def foreign(self):
        """Whether programs of others may change the host meanwhile."""
        return any(re.match(r"plimsoll-|coordctl$|qemu-system|test_", name_of(p)) and not self.owns(p)
                   for p in pids())

    def owns(self, pid):
        """Guestd has an environment of its own, and QEMU is libvirt's child: both bear an agent's id."""
        bears = re.compile("|".join([f"PLIMSOLL_E2E={self.token}"] + [f"PLIMSOLL_GUESTD={i}|guest=pl{i}-"
                                                                     for i in self.ids()]))
        return bears.search(read(f"/proc/{pid}/environ") + read(f"/proc/{pid}/cmdline")) is not None

    def id_of(self, agent):
        return read(os.path.join(self.folder, f"agent-{agent}", "id")).strip()

    def ids(self):
        ids = [self.id_of(name) for name in self.agents]
        runs = self.env["PLIMSOLL_RUNS"]
        ids += [read(os.path.join(runs, r, "agent", "id")).strip()
                for r in (os.listdir(runs) if os.path.isdir(runs) else [])]
        return [i for i in ids if i]

    def differences(self):
        """What differs on the host from before; what only others can have changed left out where there are any."""
        said = subprocess.run([HOST_STATE, "--compare", self.before], stdout=subprocess.PIPE, text=True, check=False)
        self.alone = self.alone and not self.foreign()
        bears = re.compile("|".join(map(re.escape, self.ids() + [self.token[:6]])))
        # libvirtd makes these above its first VM, and keeps them.
        lines = [line for line in said.stdout.splitlines() if not re.search(r"^. cgroup \S*/machine$", line)]
        return lines if self.alone else [line for line in lines if bears.search(line)]

    def host_is_as_before(self, limit_s=20):
        end = time.monotonic() + limit_s
        while True:
            left = self.mine() + self.differences()
            if not left:
                break
            expect(time.monotonic() < end, "left on the host:\n" + "\n".join(left))
            time.sleep(STEP_S)
        counts = subprocess.run([HOST_STATE, "--count"], stdout=subprocess.PIPE, text=True, check=True).stdout
        say("host as before: " + ", ".join(counts.splitlines())
            + ("" if self.alone else " (others ran here too: only what bears our ids was compared)"))

    def tell_logs(self):
        for s in self.services:
            say(f"---- {s.name}, {s.starts} starts\n{read(s.log)[-4000:]}")

    def end(self):
        first = None
        for c in self.commands:
            try:
                c.stop()
            except Failure as e:
                first = first or e
        for s in [x for x in self.services if x.name != "coordinator"] + [x for x in self.services
                                                                        if x.name == "coordinator"]:
            try:
                code = s.stop()
                expect(code == 0 or s.process.pid in s.killed, f"{s.name} ended with {code}:\n{read(s.log)[-2000:]}")
            except Failure as e:
                first = first or e
        for agent in self.agents.values():
            if agent.process.returncode == -signal.SIGKILL:
                run(*agent.enter, self.program("plimsoll-agent"), "--clean")
        for ns in self.netnses:
            if ns.new() and self.alone and not self.foreign():
                first = first or Failure(f"left in the namespace {ns.name}: {', '.join(ns.new())}")
            ns.remove()
        if self.bridge:
            run("ip", "link", "del", self.bridge, check=False)
        self.netnses, self.bridge = [], None
        if first:
            raise first


def run(*words, check=True):
    return subprocess.run(words, check=check, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def main(*tests):
    """Runs the tests in turn, or those that the command line names; the exit code says whether all passed."""
    failed = 0
    for test in [t for t in tests if t.__name__ in sys.argv[1:] or len(sys.argv) == 1]:
        started = time.monotonic()
        try:
            test()
            say(f"PASSED {test.__name__} in {time.monotonic() - started:.1f} s")
        except Failure as e:
            failed += 1
            say(f"FAILED {test.__name__} after {time.monotonic() - started:.1f} s: {e}")
    sys.exit(1 if failed else 0)
