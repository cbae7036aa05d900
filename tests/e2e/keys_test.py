#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of keys, with the real programs over CURVE: rotated, revoked, expired, and used by a new
installation, in the middle of a campaign of fake guests that must lose nothing."""
import os
import shutil
import sqlite3

import rig

HOSTS = ("a", "b")
REPEAT = 100
TRIALS = len(HOSTS) * (1 + REPEAT)
PLAN = f"""
campaign = {{ name = "keys" }}
guest = {{ f = {{ backend = "fake"  ready_after = "40ms" }} }}
experiment = {{ start = {{ guest = "f"  warmup = 1  repeat = {REPEAT} }} }}
hosts = {{ use = "all" }}
"""
LIMIT_S = 60


class Fleet(rig.Rig):
    """A coordinator and agents on loopback."""

    def __init__(self, *hosts):
        super().__init__()
        self.make_keys("127.0.0.1")
        self.start_coordinator()
        for name in hosts:
            self.start_agent(name)

    def key_command(self, *words):
        return self.coordctl("keys", *words, "--keys", self.keys)

    def path_of(self, name):
        return os.path.join(self.folder, f"{name}.key")

    def wait(self, what, condition):
        return rig.wait_until(what, condition, LIMIT_S, self.keep)

    def wait_said(self, service, *words):
        self.wait(f"{words} in {service.log}", lambda: all(w in rig.read(service.log) for w in words))

    def state_of(self, name):
        rows = [row.split() for row in self.coordctl("hosts")[0].splitlines()[1:]]
        return dict((row[0], row[1]) for row in rows).get(name)

    def sources(self, host):
        """{(agent key, spool): its sequences, in order} of the store."""
        with sqlite3.connect(f"file:{self.store}?mode=ro", uri=True, timeout=10) as db:
            rows = db.execute("SELECT agent, spool, sequence FROM result WHERE host = ? ORDER BY number",
                              (host,)).fetchall()
        db.close()
        found = {}
        for agent, spool, sequence in rows:
            found.setdefault((agent, spool), []).append(sequence)
        return found


def rotate(fleet, name):
    """From the next pair to the old one's end; the agent is never started again."""
    agent = fleet.agents[name]
    new = fleet.coordctl("keys", "rotate", fleet.path_of(name))[0].strip()
    fleet.wait_said(agent, f"the next key {new} is not allowed yet")
    fleet.key_command("rotate", "--agent", name, new)
    fleet.wait_said(agent, f"the next key {new} is allowed", "the next key is now")
    fleet.key_command("revoke", name, agent.public)
    rig.expect(new in rig.read(fleet.path_of(name)) and not os.path.exists(fleet.path_of(name) + ".next"),
               "the new pair is not in the place of the old one")
    rig.expect(agent.starts == 1 and fleet.state_of(name) == "connected", "the agent did not go on by itself")


def reinstall(fleet, name):
    """Under its old key, with nothing left of its state."""
    agent = fleet.agents[name]
    agent.stop()
    shutil.rmtree(os.path.join(fleet.folder, f"agent-{name}", "spool"))
    agent.wanted = True
    agent.start()


def a_campaign_loses_nothing_by_a_rotation_and_a_new_installation():
    with Fleet(*HOSTS) as fleet:
        for name in HOSTS:
            fleet.wait(f"host {name}", lambda: fleet.state_of(name) == "connected")
        old = fleet.agents["a"].public
        command = fleet.begin("submit", "--wait", fleet.plan("keys", PLAN))
        fleet.wait("the campaign's id", lambda: "\n" in command.said()[0] or command.ended())
        campaign = command.said()[0].split()[0]
        fleet.wait("a few trials", lambda: fleet.count(campaign) >= 10)
        rotate(fleet, "a")
        at = fleet.count(campaign)
        fleet.wait("the campaign going on", lambda: fleet.count(campaign) >= at + 10)
        reinstall(fleet, "b")
        fleet.agents["a"].kill()
        command.finish()
        fleet.every_trial_has_one_result(campaign, TRIALS)
        rig.expect(at < TRIALS - 20, f"the rotation took until {at} of {TRIALS} trials")
        a, b = fleet.sources("a"), fleet.sources("b")
        rig.expect([key for key, _ in a] == [old], f"sources of a: {list(a)}")
        rig.expect(len(b) == 2 and {key for key, _ in b} == {fleet.agents["b"].public}, f"sources of b: {list(b)}")
        for found in (*a.values(), *b.values()):
            rig.expect(found == list(range(1, len(found) + 1)), f"sequences of a spool: {found}")
        rig.say(f"rotated by {at} of {TRIALS} trials; sources of a: 1, of b: 2")


def revoked_and_expired_are_out_and_told():
    with Fleet("a") as fleet:
        brief = fleet.start_agent("brief", allow=False)
        fleet.key_command("allow", "--agent", "brief", brief.public, "--expires", "8s")
        fleet.wait("a host with a brief key", lambda: fleet.state_of("brief") == "connected")
        guest = fleet.client_conf("guest")
        fleet.allow("client", "guest")
        campaign = fleet.submit(fleet.plan("keys", PLAN.replace("40ms", "500ms")))
        watch = fleet.begin("watch", campaign, conf=guest)
        fleet.wait("a watch under way", lambda: watch.said()[1])
        fleet.key_command("revoke", "guest")
        rig.expect("its key was revoked at 2" in watch.finish(code=3, limit_s=20)[1], "the client was not told why")
        fleet.wait_said(brief, "refused this agent: its key expired at 2", "the coordinator's clock says",
                        "coordctl keys allow --expires", "tries again by itself")
        fleet.key_command("allow", "--agent", "brief", brief.public, "--expires", "30d")
        fleet.wait("a host with a renewed key", lambda: fleet.state_of("brief") == "connected")
        rig.expect(fleet.agents["a"].starts == 1 and "refused" not in rig.read(fleet.agents["a"].log),
                   "another host was harmed")
        said = fleet.key_command("list")[0]
        rig.expect(" expires 2" in said and " revoked 2" in said, f"the list of keys: {said}")
        fleet.coordctl("cancel", campaign)


# ---- doctor ----

def expect_doctor(fleet, code, *words, conf=None, agent=None):
    more = ["--agent-conf", os.path.join(fleet.folder, f"agent-{agent}.conf")] if agent else []
    said = fleet.coordctl("doctor", "--keys", *more, code=code, conf=conf)[0]
    for word in words:
        rig.expect(word in said, f"expected `{word}` in:\n{said}")


def changed_conf(fleet, name, old, new):
    known = rig.read(os.path.join(fleet.folder, "client.conf"))
    rig.expect(old in known, f"no `{old}` in {known}")
    return rig.write(os.path.join(fleet.folder, f"{name}.conf"), known.replace(old, new))


def doctor_says_why_a_key_is_refused():
    with Fleet("a") as fleet:
        brief = fleet.start_agent("brief", allow=False)
        fleet.key_command("allow", "--agent", "brief", brief.public, "--expires", "2s")
        fleet.wait("hosts", lambda: fleet.state_of("a") == "connected")
        fleet.wait_said(brief, "its key expired at 2")
        expect_doctor(fleet, 0, "client at tcp://", "welcome", "The agent's key", "a at tcp://", agent="a")
        expect_doctor(fleet, 1, "brief at tcp://", "refused", "its key expired at 2", "clock says 2", agent="brief")
        expect_doctor(fleet, 1, "it does not allow the key", "coordctl keys allow", conf=fleet.client_conf("stranger"))
        expect_doctor(fleet, 1, "under another name than it says",
                      conf=changed_conf(fleet, "misnamed", 'name = "client"', 'name = "other"'))
        expect_doctor(fleet, 1, "its key is that of agent `a`",
                      conf=changed_conf(fleet, "role", "client.key", "a.key"))
        expect_doctor(fleet, 1, "no answer", "is the coordinator's public key the right one",
                      conf=changed_conf(fleet, "mistaken", fleet.public, fleet.agents["a"].public))
        expect_doctor(fleet, 1, "there is no key", conf=changed_conf(fleet, "lost", "client.key", "nowhere.key"))
        fleet.key_command("allow", "--client", "client", fleet.path_of("client"), "--expires", "30d")
        expect_doctor(fleet, 0, "welcome", ", expires 2")
        fleet.key_command("revoke", "client")
        expect_doctor(fleet, 1, "its key was revoked at 2", "coordctl keys make")
        log = rig.read(fleet.coordinator.log)
        rig.expect(log.count("host a has joined") == 1 and "host a has left" not in log, "the agent was disturbed")


if __name__ == "__main__":
    rig.main(a_campaign_loses_nothing_by_a_rotation_and_a_new_installation, revoked_and_expired_are_out_and_told,
             doctor_says_why_a_key_is_refused)
