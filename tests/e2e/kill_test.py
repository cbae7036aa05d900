#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A campaign of real containers goes on to its end, each trial with one accepted result, although its
agent, plimsoll-guestd and the coordinator are killed with SIGKILL again and again. PLIMSOLL_SEED repeats
a printed seed."""
import os
import random
import signal
import time

import rig

REPEAT = 60 if os.environ.get("PLIMSOLL_TEST_LONG") else 20
KILLS = 24 if os.environ.get("PLIMSOLL_TEST_LONG") else 9
PLAN = f"""
campaign = {{ name = "killed" }}
image = {{ debian = {{ suite = "bookworm"  init = "systemd" }} }}
guest = {{
  process = {{ backend = "process" }}
  app = {{ backend = "lxc-app"  memory = "256MiB"  network = "bridge" }}
  full = {{ backend = "lxc"  memory = "256MiB" }}
}}
experiment = {{ start = {{ guest = ("process", "app", "full")  warmup = 1  repeat = {REPEAT} }} }}
"""
TRIALS = 3 * (1 + REPEAT)
LIMIT_S = 300


def kill_one(r, target):
    """Whether there was something to kill."""
    agent = r.agents["a"]
    if target == "guestd":
        found = rig.children_of(agent.process.pid, "plimsoll-guestd")
        for pid in found:
            os.kill(pid, signal.SIGKILL)
        return bool(found)
    (agent if target == "agent" else r.coordinator).kill()
    return True


def kill_on_and_on(r, campaign, draw):
    """One kill at a drawn moment in each of as many equal parts of the trials, so that they cover the whole
    campaign and no trial is hit more often than it may be lost."""
    targets = ["agent", "guestd", "coordinator"] * (KILLS // 3)
    draw.shuffle(targets)
    done = 0
    for part, target in enumerate(targets):
        first, last = part * TRIALS // KILLS, (part + 1) * TRIALS // KILLS
        mark = draw.randrange(first, last - 1)
        rig.wait_until(f"trial {mark}", lambda: r.count(campaign) >= mark, LIMIT_S, r.keep)
        moment = time.monotonic() + draw.uniform(0, 0.02)
        while time.monotonic() < moment:
            r.keep()
            time.sleep(0.001)
        if r.count(campaign) == TRIALS:
            break
        if target == "guestd":
            rig.wait_until("guestd", lambda: kill_one(r, target) or r.count(campaign) == TRIALS, 60, r.keep)
        else:
            kill_one(r, target)
        done += 1
        rig.say(f"killed {target} with {r.count(campaign)} of {TRIALS} trials accepted")
    return done


def every_trial_has_one_result_in_spite_of_kills():
    rig.need_root_and_image()
    seed = int(os.environ.get("PLIMSOLL_SEED") or random.SystemRandom().randrange(1 << 31))
    rig.say(f"PLIMSOLL_SEED={seed}")
    with rig.Rig() as r:
        r.make_keys("127.0.0.1")
        r.start_coordinator()
        r.start_agent("a")
        campaign = r.submit(r.plan("killed", PLAN))
        rig.wait_until("trials", lambda: len(r.accepted(campaign)) == TRIALS, 60, r.keep)
        kills = kill_on_and_on(r, campaign, random.Random(seed))
        rig.wait_until("the end of all trials", lambda: r.count(campaign) == TRIALS, LIMIT_S, r.keep)
        rig.wait_until("the campaign's end", lambda: "done" in r.coordctl("status", campaign, code=None)[0],
                       LIMIT_S, r.keep)
        report = r.every_trial_has_one_result(campaign, TRIALS)
        rig.expect(kills >= KILLS - 2, f"only {kills} of {KILLS} kills fell into the campaign")
        extra = len(report["results"]) - TRIALS
        rig.say(f"{kills} kills; {TRIALS} trials, one accepted result each; {extra} results besides; "
                f"the agent was started {r.agents['a'].starts} times, the coordinator {r.coordinator.starts}")


if __name__ == "__main__":
    rig.main(every_trial_has_one_result_in_spite_of_kills)
