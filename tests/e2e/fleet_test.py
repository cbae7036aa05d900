#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet: a coordinator, a client and three agents, each in a network namespace of its own, talk over
CURVE on TCP; the guests are real."""
import collections
import json
import os
import re
import sqlite3
import subprocess

import rig

HOSTS = ("a", "b", "c")
PLAN = """
campaign = {{ name = "{name}" }}
image = {{ debian = {{ suite = "bookworm"  init = "systemd" }} }}
guest = {{
  process = {{ backend = "process" }}
  app = {{ backend = "lxc-app"  memory = ("128MiB", "256MiB")  network = "bridge" }}
  full = {{ backend = "lxc"  memory = "256MiB" }}
}}
experiment = {{ start = {{ guest = ("process", "app", "full")  warmup = 1  repeat = {repeat} }} }}
hosts = {{ use = "{use}" }}
"""
CELLS = 4
LIMIT_S = 60


class Fleet(rig.Rig):
    """The coordinator, a client, and agents where they are asked for."""

    def __init__(self, *hosts, more=""):
        rig.need_root_and_image()
        super().__init__()
        network = self.add_network(("coordinator", "client", *HOSTS))
        self.client_netns = network["client"]
        self.netns = {name: network[name] for name in HOSTS}
        self.make_keys(network["coordinator"].address)
        self.start_coordinator(network["coordinator"], more)
        for name in hosts:
            self.start_agent(name, self.netns[name])

    def wait_hosts(self, *names):
        rig.wait_until(f"hosts {names}", lambda: self.states() == dict.fromkeys(names, "connected"), LIMIT_S,
                       self.keep)

    def states(self):
        rows = self.coordctl("hosts")[0].splitlines()[1:]
        return dict(row.split()[:2] for row in rows)

    def submit_waiting(self, name, use, repeat):
        """(the command, the campaign's id)"""
        plan = self.plan(name, PLAN.format(name=name, use=use, repeat=repeat))
        command = self.begin("submit", "--wait", plan)
        rig.wait_until("the campaign's id", lambda: "\n" in command.said()[0] or command.ended(), LIMIT_S,
                       self.keep)
        rig.expect(command.said()[0], f"nothing was submitted: {command.said()[1]}")
        return command, command.said()[0].split()[0]

    def wait_accepted(self, campaign, n):
        rig.wait_until(f"{n} trials", lambda: self.count(campaign) >= n, LIMIT_S, self.keep)

    def holders(self, campaign):
        """{host: stage} of the trials that run."""
        said = self.coordctl("status", campaign, code=None)[0]
        return dict(re.findall(r"^  ([abc]) +\d+ .* (\w+)$", said, re.M))

    def trials(self, campaign):
        """All trials of the store: (cell, host, warmup)."""
        with sqlite3.connect(f"file:{self.store}?mode=ro", uri=True, timeout=10) as db:
            rows = db.execute("SELECT cell, host, warmup FROM trial WHERE campaign = ?", (campaign,)).fetchall()
        db.close()
        return rows


def expect_said(text, *words):
    for word in words:
        rig.expect(word in text, f"expected `{word}` in:\n{text[-3000:]}")


def accepted_of(report):
    return [r for r in report["results"] if r["accepted"]]


# ---- use = "all" ----

def progress_is_told(fleet, campaign, trials):
    said = rig.wait_until("a status that counts", lambda: re.search(
        rf"running, submitted .*\n  (\d+) of {trials} trials", fleet.coordctl("status", campaign)[0]), LIMIT_S,
        fleet.keep)
    rig.expect(int(said.group(1)) < trials, "the campaign ended before it could be looked at")
    rows = [row.split() for row in fleet.coordctl("hosts")[0].splitlines()[1:]]
    rig.expect([row[0] for row in rows] == list(HOSTS) and len({row[2] for row in rows}) == 1,
               f"three hosts of one group were expected: {rows}")
    expect_said(fleet.coordctl("hosts", "b")[0], "b: connected", "kernel.release", "must match")
    expect_said(fleet.coordctl("list")[0], campaign, "running")


def every_host_has_every_cell(report, repeat):
    counted = collections.Counter((r["cell"], r["host"], r["warmup"]) for r in accepted_of(report))
    wanted = {(cell, host, warmup): 1 if warmup else repeat
              for cell in range(CELLS) for host in HOSTS for warmup in (True, False)}
    rig.expect(counted == wanted, f"results by cell, host and warm-up: {dict(counted)}")
    for group in report["groups"]:
        start = next(m for m in group["metrics"] if m["metric"] == "start")
        rig.expect(start["n"] == repeat * len(HOSTS) and start["mean"] > 0, f"statistics of a cell: {start}")


def reports_say_the_same(fleet, campaign, trials):
    text = fleet.coordctl("report", campaign)[0]
    expect_said(text, f"{campaign}, done, {trials} trials on 3 hosts", "process", "app", "full", "Hosts", "a: plimsoll")
    path = os.path.join(fleet.folder, "report.json")
    fleet.coordctl("report", campaign, "--format", "json", "-o", path)
    report = json.loads(rig.read(path))
    rig.expect(report["campaign"]["id"] == campaign and len(report["hosts"]) == 3, "another campaign's report")
    expect_said(fleet.coordctl("show", campaign, "1")[0], "trial 1, a warm-up", "accepted", "start")


def every_host_runs_every_cell():
    repeat = 3
    trials = CELLS * len(HOSTS) * (1 + repeat)
    with Fleet(*HOSTS) as fleet:
        fleet.wait_hosts(*HOSTS)
        command, campaign = fleet.submit_waiting("everywhere", "all", repeat)
        watch = fleet.begin("watch", campaign)
        progress_is_told(fleet, campaign, trials)
        expect_said(command.finish()[1], f"everywhere: {trials} of {trials} trials, done")
        expect_said(watch.finish()[1], f"everywhere: {trials} of {trials} trials, done")
        report = fleet.every_trial_has_one_result(campaign, trials)
        every_host_has_every_cell(report, repeat)
        reports_say_the_same(fleet, campaign, trials)


# ---- use = "any" ----

def cells_are_whole_and_spread(report, repeat):
    hosts_of = collections.defaultdict(set)
    for r in accepted_of(report):
        hosts_of[r["cell"]].add(r["host"])
    rig.expect(len(hosts_of) == CELLS and all(len(hosts) == 1 for hosts in hosts_of.values()),
               f"hosts by cell: {dict(hosts_of)}")
    rig.expect(set().union(*hosts_of.values()) == set(HOSTS), f"a host has nothing to do: {dict(hosts_of)}")
    for group in report["groups"]:
        rig.expect(group["counts"]["warmup"] == 1, f"warm-ups of a cell: {group['counts']}")
        start = next(m for m in group["metrics"] if m["metric"] == "start")
        rig.expect(start["n"] == repeat, f"statistics of a cell: {start}")


def kill_for_good(fleet, campaign):
    """Kills the agent of a host that has a guest up; its name."""
    def at_work():
        return [host for host, stage in fleet.holders(campaign).items() if stage != "lock"]
    name = rig.wait_until("a host at work", at_work, LIMIT_S, fleet.keep)[0]
    fleet.agents[name].wanted = False
    fleet.agents[name].kill()
    rig.say(f"killed agent {name} with {fleet.count(campaign)} trials accepted")
    return name


def what_it_held_was_done_elsewhere(fleet, campaign, lost, before):
    report = fleet.every_trial_has_one_result(campaign, len(fleet.trials(campaign)))
    expect_said(report["campaign"]["note"], f"trials of host {lost} went to identical hosts")
    counts = [group["counts"] for group in report["groups"]]
    rig.expect(sum(c["lost"] for c in counts) + sum(r["warmup"] and r["attempt"] > 1 for r in report["results"]) > 0,
               f"no attempt was lost with its agent: {counts}")
    late = [r for r in accepted_of(report) if r["host"] == lost and r["trial"] not in before]
    rig.expect(not late, f"results of host {lost} after it was killed: {late}")
    again = [r for r in accepted_of(report) if r["attempt"] > 1]
    rig.expect(again and all(r["host"] != lost for r in again), "the trial it held is no new attempt elsewhere")


def cells_spread_over_hosts_and_move_when_one_is_gone():
    with Fleet(*HOSTS, more='gone = "4s"\n') as fleet:
        fleet.wait_hosts(*HOSTS)
        command, campaign = fleet.submit_waiting("spread", "any", 4)
        command.finish()
        report = fleet.every_trial_has_one_result(campaign, CELLS * 5)
        cells_are_whole_and_spread(report, 4)

        command, campaign = fleet.submit_waiting("moved", "any", 12)
        fleet.wait_accepted(campaign, 6)
        lost = kill_for_good(fleet, campaign)
        before = {t for t, n in fleet.accepted(campaign).items() if n}
        said = command.finish()[1]
        rig.expect(re.search(r"moved: (\d+) of \1 trials, .*done", said), f"no end in:\n{said}")
        rig.expect(fleet.states()[lost] == "gone", f"hosts: {fleet.states()}")
        what_it_held_was_done_elsewhere(fleet, campaign, lost, before)
        clean(fleet, lost)


def clean(fleet, name):
    """As one would on a host whose agent will not be started again."""
    conf = os.path.join(fleet.folder, f"agent-{name}.conf")
    before = fleet.netns[name].new()
    elsewhere = rig.run(fleet.program("plimsoll-agent"), "--clean")
    expect_said(elsewhere.stdout, f"agent {fleet.id_of(name)} was in another network namespace")
    rig.expect(fleet.netns[name].new() == before, f"removed from elsewhere: was {before}")
    said = rig.run(*fleet.netns[name].enter(), fleet.program("plimsoll-agent"), "--clean", "--config", conf)
    expect_said(said.stdout, f"agent {fleet.id_of(name)} was killed; removed what it left", "agents run on this host")
    rig.expect(not fleet.netns[name].new(), f"not removed: {fleet.netns[name].new()}")


# ---- cancel ----

def guests(fleet):
    """What guests are while they are up: cgroups, network devices, mounts, processes. An agent keeps its own
    cgroup, with liblxc's pivot, and its bridge."""
    lines = subprocess.run([rig.HOST_STATE], stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    groups = re.compile(f"plimsoll-({'|'.join(fleet.ids())})/(?!lxc.pivot)")
    found = [line for line in lines if line.startswith("cgroup ") and groups.search(line)]
    for ns in fleet.netns.values():
        found += [thing for thing in ns.new() if not re.fullmatch("link pl[0-9a-f]{8}0", thing)]
    return found + [p for p in fleet.mine() if "lxc monitor" in p or "runner" in p]


def cancel_while_the_store_is_busy(fleet, campaign):
    """The cancel waits for the store, and a coordinator that is killed once it is answered cancels."""
    db = sqlite3.connect(fleet.store, timeout=10, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    cancel = fleet.begin("cancel", campaign)
    rig.wait_until("a campaign that is being cancelled",
                   lambda: "cancelling" in fleet.coordctl("status", campaign)[0], 8, fleet.keep)
    rig.expect(not cancel.ended(), "the cancel was answered before the store had it")
    db.execute("ROLLBACK")
    db.close()
    cancel.finish()
    fleet.coordinator.kill()


def what_was_measured_is_kept(fleet, campaign, kept):
    text, _ = fleet.coordctl("report", campaign, code=4)
    expect_said(text, "cancelled", "\nMissing\n", "trials of full on c")
    report = json.loads(fleet.coordctl("report", campaign, "--format", "json", code=4)[0])
    stored = {t for t, n in fleet.accepted(campaign).items() if n}
    rig.expect(kept <= stored and stored == {r["trial"] for r in accepted_of(report)},
               f"accepted before {len(kept)}, stored {len(stored)}, reported {len(accepted_of(report))}")
    verdict = report["verdict"]
    rig.expect(verdict["trials_missing"] == verdict["trials"] - len(stored) == sum(m["trials"] for m in report["missing"])
               and verdict["exit_code"] == 4 and report["campaign"]["state"] == "cancelled", f"the verdict: {verdict}")


def a_cancelled_campaign_leaves_no_guest_and_keeps_its_results():
    with Fleet(*HOSTS) as fleet:
        fleet.wait_hosts(*HOSTS)
        command, campaign = fleet.submit_waiting("cancelled", "all", 100)
        fleet.wait_accepted(campaign, 9)
        waiting = fleet.submit(fleet.plan("next", PLAN.format(name="next", use="all", repeat=1)))
        expect_said(fleet.coordctl("status", waiting)[0], f"waits for campaign {campaign}")
        fleet.coordctl("cancel", waiting)
        rig.wait_until("guests on all hosts", lambda: set(fleet.holders(campaign)) == set(HOSTS) and guests(fleet),
                       LIMIT_S, fleet.keep)
        kept = {t for t, n in fleet.accepted(campaign).items() if n}
        cancel_while_the_store_is_busy(fleet, campaign)
        expect_said(command.finish(code=4)[1], "cancelled")
        rig.wait_until("hosts without guests", lambda: not guests(fleet), 10, fleet.keep)
        expect_said(fleet.coordctl("status", campaign, code=4)[0], "cancelled, submitted")
        expect_said(fleet.coordctl("status", waiting, code=4)[0], "cancelled, submitted")
        expect_said(fleet.coordctl("cancel", campaign, code=2)[1], "no campaign", "is running or waiting")
        what_was_measured_is_kept(fleet, campaign, kept)


# ---- Keys ----

def keyless(fleet):
    """Configurations that name no usable key: exit code 2, and what to do."""
    empty = rig.write(os.path.join(fleet.folder, "empty.conf"), "")
    expect_said(fleet.coordctl("hosts", conf=empty, code=2)[1], "--coordinator", "empty.conf")
    known = rig.read(os.path.join(fleet.folder, "client.conf"))
    without = rig.write(os.path.join(fleet.folder, "without.conf"), re.sub(r"(?m)^key = .*\n", "", known))
    expect_said(fleet.coordctl("hosts", conf=without, code=2)[1], "our own key pair", "coordctl keys make")
    lost = rig.write(os.path.join(fleet.folder, "lost.conf"), known.replace("client.key", "nowhere.key"))
    expect_said(fleet.coordctl("hosts", conf=lost, code=2)[1], "there is no key", "nowhere.key` makes one")


def refused(fleet):
    """Keys that the coordinator does not take: exit code 3, and what to do."""
    stranger = fleet.client_conf("stranger")
    expect_said(fleet.coordctl("hosts", conf=stranger, code=3)[1], "refused us", fleet.client_public,
                "coordctl keys allow")
    agent = rig.write(os.path.join(fleet.folder, "as-agent.conf"),
                      rig.read(os.path.join(fleet.folder, "client.conf")).replace("client.key", "agent-a.key"))
    os.link(os.path.join(fleet.folder, "a.key"), os.path.join(fleet.folder, "agent-a.key"))
    expect_said(fleet.coordctl("hosts", conf=agent, code=3)[1], "refused us", "agent `a`", "at this port")


def withdrawn(fleet, campaign):
    """A key that is taken away is out at once, in the middle of a watch, and comes back."""
    guest = fleet.client_conf("guest")
    fleet.allow("client", "guest")
    fleet.coordctl("hosts", conf=guest)
    watch = fleet.begin("watch", campaign, conf=guest)
    rig.wait_until("a watch under way", lambda: watch.said()[1], LIMIT_S, fleet.keep)
    os.remove(os.path.join(fleet.keys, "clients", "guest.key"))
    expect_said(watch.finish(code=3, limit_s=20)[1], "refused us", "coordctl keys allow")
    expect_said(fleet.coordctl("hosts", conf=guest, code=3)[1], "coordctl keys allow")
    fleet.allow("client", "guest")
    fleet.coordctl("hosts", conf=guest)


def absent(fleet):
    """Nobody there, or somebody else: exit code 3; both wait for a while, so at the same time."""
    nobody = fleet.begin("hosts", "--coordinator", f"tcp://{fleet.address}:1")
    other = fleet.begin("hosts", conf=fleet.client_conf("mistaken", server=fleet.agents["a"].public))
    expect_said(nobody.finish(code=3)[1], "no coordinator answers at", "nobody listens there")
    expect_said(other.finish(code=3)[1], "is the coordinator's public key the right one")


def log_of(fleet, agent, *words):
    rig.wait_until(f"{words} in {agent.log}", lambda: all(w in rig.read(agent.log) for w in words), LIMIT_S, fleet.keep)


def impostors(fleet, campaign):
    """An agent with the key of one that lives, and one that says another's name."""
    twin = fleet.start_agent("twin", fleet.netns["b"], says="a", key=os.path.join(fleet.folder, "a.key"))
    thief = fleet.start_agent("thief", fleet.netns["c"], says="a")
    log_of(fleet, twin, "refused this agent", "another session of this name is live")
    log_of(fleet, thief, "refused this agent", "allowed under another name than it says", "`name`")
    log_of(fleet, fleet.coordinator, "refused a: another session", "refused thief: its key was allowed under")
    expect_said(fleet.coordctl("status", campaign)[0], "a session of host a was refused: another session",
                "a session of host thief was refused")
    rig.expect(fleet.states() == {"a": "connected"}, f"hosts: {fleet.states()}")
    for agent in (twin, thief):
        agent.stop()


def a_newcomer_waits_to_be_allowed(fleet):
    newcomer = fleet.start_agent("b", fleet.netns["b"], allow=False)
    log_of(fleet, newcomer, "refused this agent", newcomer.public, "coordctl keys allow")
    rig.expect("b" not in fleet.states(), f"hosts: {fleet.states()}")
    fleet.allow("agent", "b", newcomer.public)
    fleet.wait_hosts("a", "b")
    rig.expect(newcomer.starts == 1, "the agent was started again")


def keys_decide_who_takes_part():
    with Fleet("a") as fleet:
        fleet.wait_hosts("a")
        keyless(fleet)
        expect_said(fleet.coordctl("report", "nothing", code=2)[1], "no campaign nothing",
                    "no campaign `nothing` was run on this host")
        refused(fleet)
        absent(fleet)
        command, campaign = fleet.submit_waiting("guarded", "all", 400)
        fleet.wait_accepted(campaign, 1)
        withdrawn(fleet, campaign)
        impostors(fleet, campaign)
        a_newcomer_waits_to_be_allowed(fleet)
        fleet.coordctl("cancel", campaign)
        command.finish(code=4)
        expect_said(fleet.coordctl("report", campaign, code=4)[0], "a session of host a was refused")
        fleet.coordinator.stop()
        expect_said(fleet.coordctl("hosts", code=3)[1], "no coordinator answers at")


if __name__ == "__main__":
    rig.main(every_host_runs_every_cell, cells_spread_over_hosts_and_move_when_one_is_gone,
             a_cancelled_campaign_leaves_no_guest_and_keeps_its_results, keys_decide_who_takes_part)
