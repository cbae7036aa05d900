#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""What befalls disks and memory: full disks under spool and store, a coordinator that is killed for its
memory; and how often what is acknowledged was synced, counted by strace. Guests are scripted ones, since
none of this is about them."""
import ctypes
import fcntl
import os
import re
import signal
import subprocess
import sys

import rig

LIMIT_S = 60
PLAN = """
campaign = {{ name = "{name}" }}
guest = {{ some = {{ backend = "fake"  ready_after = "{ready}" }} }}
experiment = {{ start = {{ guest = "some"  warmup = 0  repeat = {repeat} }} }}
"""
CLONE_NEWNS = 0x20000


def own_mounts():
    """From here on this process and its children mount for themselves alone."""
    if os.geteuid() != 0:
        rig.skip("needs root, for a small disk")
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
        rig.skip(f"no mount namespace: {os.strerror(ctypes.get_errno())}")
    rig.run("mount", "--make-rprivate", "/")


class Small:
    """A disk of a few MiB that can be full."""

    def __init__(self, folder, size):
        self.folder, self.filler = folder, os.path.join(folder, "filler")
        os.makedirs(folder, mode=0o700)
        rig.run("mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "plimsoll-test", folder)

    def fill(self):
        with open(self.filler, "ab", buffering=0) as f:
            try:
                while True:
                    f.write(bytes(4096))
            except OSError:
                pass

    def clear(self):
        os.unlink(self.filler)

    def remove(self):
        rig.run("umount", "--lazy", self.folder)


class Accident(rig.Rig):
    """A coordinator that may end by itself where a test says so, and one agent."""

    def __init__(self):
        super().__init__()
        self.ends = []  # exit codes of the coordinator
        self.may_end_with = ()
        self.make_keys("127.0.0.1")

    def keep(self):
        code = self.coordinator.process.poll() if hasattr(self, "coordinator") else None
        if code in self.may_end_with and self.coordinator.process.pid not in self.coordinator.killed:
            self.ends.append(code)
            self.coordinator.killed.add(self.coordinator.process.pid)
        super().keep()

    def campaign(self, name, repeat, ready="1ms"):
        return self.submit(self.plan(name, PLAN.format(name=name, repeat=repeat, ready=ready)))

    def wait_count(self, campaign, n):
        rig.wait_until(f"{n} trials", lambda: self.count(campaign) >= n, LIMIT_S, self.keep)

    def wait_done(self, campaign, trials):
        self.wait_count(campaign, trials)
        rig.wait_until("the campaign's end", lambda: "done" in self.coordctl("status", campaign, code=None)[0],
                       LIMIT_S, self.keep)

    def results(self, campaign):
        """{trial: (agent's spool and sequence)} of what is accepted."""
        with rig.sqlite3.connect(f"file:{self.store}?mode=ro", uri=True, timeout=10) as db:
            rows = db.execute("SELECT trial, spool || ':' || sequence FROM result WHERE campaign = ? AND accepted",
                              (campaign,)).fetchall()
        db.close()
        return dict(rows)


# ---- Disks ----

def a_full_disk_under_the_spool_only_makes_it_wait():
    trials = 300
    with Accident() as r:
        small = Small(os.path.join(r.folder, "agent-a"), "4m")
        try:
            r.start_coordinator()
            agent = r.start_agent("a")
            campaign = r.campaign("spool", trials)
            r.wait_count(campaign, 20)

            def waits():
                small.fill()  # again and again: the spool's reserve is there to be spent
                return re.search(r"the result of trial \d+ waits: .*", rig.read(agent.log))

            said = rig.wait_until("a result that waits", waits, LIMIT_S, r.keep).group()
            rig.expect(f"{small.folder}/spool/records" in said and "No space left" in said,
                       f"the path and the reason: {said}")
            before = r.results(campaign)
            rig.expect(len(before) < trials, "all was done before the disk was full")
            small.clear()
            r.wait_done(campaign, trials)
            r.every_trial_has_one_result(campaign, trials)
            rig.expect(before.items() <= r.results(campaign).items(), "what was accepted has changed")
            rig.expect(agent.starts == 1, f"the agent was started {agent.starts} times")
            rig.say(f"waited with {len(before)} of {trials} trials accepted: {said}")
            agent.stop()
        finally:
            small.remove()


def a_full_disk_under_the_store_ends_the_coordinator_until_there_is_room():
    trials = 300
    with Accident() as r:
        small = Small(os.path.join(r.folder, "small"), "48m")
        try:
            r.start_coordinator(store=os.path.join(small.folder, "store.db"))
            r.start_agent("a")
            campaign = r.campaign("store", trials)
            r.wait_count(campaign, 20)
            r.may_end_with = (1,)
            small.fill()
            rig.wait_until("the coordinator's end, twice", lambda: len(r.ends) >= 2, LIMIT_S, r.keep)
            said = re.findall(r"^plimsoll-coordinator: .*full.*$", rig.read(r.coordinator.log), re.M)
            rig.expect(said and all(r.store in line for line in said), f"the store's path and the reason: {said}")
            before = r.results(campaign)
            small.clear()
            r.wait_done(campaign, trials)
            r.may_end_with = ()
            r.every_trial_has_one_result(campaign, trials)
            rig.expect(before.items() <= r.results(campaign).items(), "what was accepted has changed")
            rig.say(f"ended {len(r.ends)} times with {len(before)} of {trials} trials accepted: {said[0]}")
            r.coordinator.stop()
        finally:
            small.remove()


# ---- Memory ----

class MemoryLimit:
    """A cgroup for one program, without swap."""

    def __init__(self, name):
        self.v1 = not os.path.exists("/sys/fs/cgroup/cgroup.controllers")
        root = "/sys/fs/cgroup/memory" if self.v1 else "/sys/fs/cgroup"
        if not os.access(root, os.W_OK) or not (
                self.v1 or "memory" in rig.read(f"{root}/cgroup.subtree_control")):
            rig.skip("no cgroup controller for memory")
        self.folder = os.path.join(root, name)
        os.mkdir(self.folder)

    def enter(self):
        return ["sh", "-c", f"echo $$ >{self.folder}/cgroup.procs; exec \"$@\"", "enter"]

    def used_bytes(self):
        return int(rig.read(f"{self.folder}/{'memory.usage_in_bytes' if self.v1 else 'memory.current'}"))

    def limit(self, n_bytes):
        for file in ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes") if self.v1 else ("memory.max",):
            if os.path.exists(f"{self.folder}/{file}"):
                rig.write(f"{self.folder}/{file}", str(n_bytes))

    def kills(self):
        text = rig.read(f"{self.folder}/{'memory.oom_control' if self.v1 else 'memory.events'}")
        return int(re.search(r"^oom_kill (\d+)", text, re.M).group(1))

    def remove(self):
        os.rmdir(self.folder)


def a_coordinator_that_is_killed_for_its_memory_resumes():
    trials = 60
    with Accident() as r:
        memory = MemoryLimit(f"plimsoll-test-{r.token[:6]}")
        serve = r.serve
        r.serve = lambda name, argv, netns=None: serve(
            name, (memory.enter() if name == "coordinator" else []) + argv, netns)
        flood = None
        try:
            r.start_coordinator()
            r.start_agent("a")
            campaign = r.campaign("memory", trials, ready="50ms")
            r.wait_count(campaign, 10)
            memory.limit(memory.used_bytes() + (32 << 20))
            r.may_end_with = (-signal.SIGKILL,)
            flood = subprocess.Popen(
                [os.path.join(rig.BIN, "..", "tests", "endless"), f"tcp://127.0.0.1:{r.ports()[1]}", r.public,
                 os.path.join(r.folder, "client.key")])
            rig.wait_until("the coordinator's end", lambda: r.ends, LIMIT_S, r.keep)
            flood.kill()
            before = r.count(campaign)
            rig.expect(memory.kills() > 0, "it was not the limit that killed it")
            r.wait_done(campaign, trials)
            r.every_trial_has_one_result(campaign, trials)
            rig.expect(before < trials, "all was done before")
            rig.say(f"killed for its memory {len(r.ends)} times with {before} of {trials} trials accepted")
            r.coordinator.stop()
        finally:
            if flood:
                flood.kill()
                flood.wait()
            if r.coordinator.process.poll() is None:
                r.coordinator.kill()
            rig.wait_until("the cgroup's end", lambda: not rig.read(f"{memory.folder}/cgroup.procs"), LIMIT_S)
            memory.remove()


# ---- Syncs ----

class Syncs:
    """What a program asks the kernel to sync, by path, as strace sees it; each may be made to take longer."""

    def __init__(self, r, name, pid, delay_us=0):
        self.path = os.path.join(r.folder, f"{name}.strace")
        self.process = subprocess.Popen(
            ["strace", "-f", "-qq", "-y", "-e", "trace=fsync,fdatasync", "-e", "signal=none",
             *(["-e", f"inject=fdatasync:delay_exit={delay_us}"] if delay_us else []), "-o", self.path,
             "-p", str(pid)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        rig.wait_until("strace", lambda: self.process.poll() is not None or self.traces(pid), LIMIT_S)
        if self.process.poll() is not None:
            rig.skip("strace cannot attach here")

    def traces(self, pid):
        return all(re.search(rf"^TracerPid:\s*{self.process.pid}$", rig.read(f"/proc/{pid}/task/{t}/status"), re.M)
                   for t in os.listdir(f"/proc/{pid}/task"))

    def stop(self):
        """{path: number of syncs}; a call that was interrupted by another thread's line counts once."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait()
        counted = {}
        for path in re.findall(r"\b(?:fsync|fdatasync)\(\d+<([^>]*)>", rig.read(self.path)):
            counted[path] = counted.get(path, 0) + 1
        return counted


def without_leak_check(r):
    """LeakSanitizer cannot look at what is traced."""
    r.env["ASAN_OPTIONS"] = r.env.get("ASAN_OPTIONS", "") + ":detect_leaks=0"


def need_strace():
    if not rig.shutil.which("strace"):
        rig.skip("strace is not installed")


def a_result_costs_the_agent_one_sync_of_its_spool():
    need_strace()
    trials = 50
    with Accident() as r:
        without_leak_check(r)
        r.start_coordinator()
        agent = r.start_agent("a")
        rig.wait_until("the host", lambda: "connected" in r.coordctl("hosts")[0], LIMIT_S, r.keep)
        syncs = {s: Syncs(r, s, p.process.pid) for s, p in (("agent", agent), ("coordinator", r.coordinator))}
        campaign = r.campaign("syncs", trials)
        r.wait_done(campaign, trials)
        counted = {s: t.stop() for s, t in syncs.items()}
        r.every_trial_has_one_result(campaign, trials)
        spool = sum(n for path, n in counted["agent"].items() if "/spool/" in path)
        store = sum(n for path, n in counted["coordinator"].items() if path.startswith(r.store))
        rig.say(f"{trials} results one after the other: {spool} syncs of the spool, {store} of the store")
        rig.expect(spool == trials, f"syncs of the agent's files: {counted['agent']}")
        # A lease and a result are a group each; the campaign's beginning and end, and checkpoints, are a few.
        rig.expect(trials <= store <= 2 * trials + 12, f"syncs of the coordinator's files: {counted['coordinator']}")


def results_that_come_together_are_synced_together():
    """On a disk whose syncs take long, so that what comes meanwhile waits."""
    need_strace()
    hosts, most = [f"h{i}" for i in range(8)], 4
    with Accident() as r:
        without_leak_check(r)
        r.start_coordinator(more='gone = "90s"\n')
        for name in hosts:
            r.start_agent(name)
        rig.wait_until("the hosts", lambda: r.coordctl("hosts")[0].count("connected") == len(hosts), LIMIT_S, r.keep)
        running = [os.path.join(r.folder, f"agent-{name}", "running") for name in hosts]
        with open("/run/plimsoll/host.lock", "r+b") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # trials wait for it
            campaign = r.campaign("together", 1)
            rig.wait_until("all trials", lambda: all(map(os.path.exists, running)), LIMIT_S, r.keep)
            syncs = Syncs(r, "coordinator", r.coordinator.process.pid, delay_us=300000)
            r.coordinator.process.send_signal(signal.SIGSTOP)
        try:
            # The file goes when the result is in the spool.
            rig.wait_until("all results", lambda: not any(map(os.path.exists, running)), LIMIT_S)
        finally:
            r.coordinator.process.send_signal(signal.SIGCONT)
        r.wait_done(campaign, len(hosts))
        counted = syncs.stop()
        r.every_trial_has_one_result(campaign, len(hosts))
        store = sum(n for path, n in counted.items() if path.startswith(r.store))
        rig.say(f"{len(hosts)} results together: {store} syncs of the store")
        # What came first goes alone, all others while it is synced; then the campaign's end.
        rig.expect(1 <= store <= most, f"syncs of the coordinator's files: {counted}")


if __name__ == "__main__":
    own_mounts()
    rig.main(a_full_disk_under_the_spool_only_makes_it_wait,
             a_full_disk_under_the_store_ends_the_coordinator_until_there_is_room,
             a_coordinator_that_is_killed_for_its_memory_resumes,
             a_result_costs_the_agent_one_sync_of_its_spool,
             results_that_come_together_are_synced_together)
