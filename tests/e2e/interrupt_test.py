#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""`coordctl run` interrupted in the middle of a VM's boot, of a full container's boot and of trials of
single applications, in every way in which that happens: the host is as before, and what was not measured
is measured by --resume."""
import json
import os
import signal
import subprocess
import time

import rig
from foreground import (Foreground, contained, container_is_booting, kill_everything, only_run, vm_is_booting,
                        vms)

MISSING, AT_ONCE_S = 4, 2
IMAGE = 'image = { debian = { suite = "bookworm"  init = "systemd" } }\n'


def plan(r, guest, repeat, more="", memory="256MiB"):
    return r.plan("interrupted", 'campaign = { name = "interrupted" }\n' + IMAGE + f"""
guest = {{ one = {{ {guest}  memory = "{memory}" }} }}
experiment = {{ start = {{ guest = "one"  warmup = 0  repeat = {repeat} {more} }} }}
""")


def host_is_as_before_now(r):
    """When coordctl has ended nothing is left to be done."""
    r.host_is_as_before(limit_s=3)


def results(r, campaign):
    report = json.loads(r.coordctl("report", campaign, "--format", "json", code=None)[0])
    return {(x["trial"], x["attempt"]): x for x in report["results"]}


def interrupted(r, run, when, how, limit_s=60):
    rig.wait_until("the moment to interrupt", when, limit_s, run.check)
    how()
    said = run.wait(MISSING)
    campaign = only_run(r)
    rig.expect(f"coordctl run --resume {campaign}" in said or run.terminal,
               f"how to go on is not told:\n{said[-2000:]}")
    host_is_as_before_now(r)
    return campaign


def resumed(r, campaign, trials):
    """Runs the rest; nothing that was accepted before is measured again."""
    before = results(r, campaign)
    had = {t for (t, _), x in before.items() if x["accepted"]}
    r.coordctl("run", "--resume", campaign, "-o", os.path.join(r.folder, "report.json"))
    after = results(r, campaign)
    again = [k for k in after if k not in before and k[0] in had]
    rig.expect(not again, f"trials that were accepted already ran again: {again}")
    r.every_trial_has_one_result(campaign, trials)
    host_is_as_before_now(r)
    rig.say(f"resumed with {len(had)} of {trials} trials accepted")


def containers_are_interrupted():
    """A full container's boot by Ctrl-C at a terminal, then by SIGTERM, then by the terminal's end."""
    rig.need_root_and_image()
    with rig.Rig() as r:
        run = Foreground(r, plan(r, 'backend = "lxc"  network = "bridge"', 3), terminal=True)
        campaign = interrupted(r, run, lambda: container_is_booting(r), run.interrupt)
        rig.expect("Cancelling" in run.text(), f"nobody was told:\n{run.text()}")
        run = Foreground(r, "--resume", campaign)
        interrupted(r, run, lambda: container_is_booting(r), lambda: run.interrupt(signal.SIGTERM))
        run = Foreground(r, "--resume", campaign, terminal=True)
        interrupted(r, run, lambda: container_is_booting(r), run.close_terminal)
        resumed(r, campaign, 3)


def applications_are_interrupted():
    rig.need_root_and_image()
    with rig.Rig() as r:
        run = Foreground(r, plan(r, 'backend = "lxc-app"', 30))
        rig.wait_until("the campaign", lambda: only_run_or_none(r), 30, run.check)
        campaign = interrupted(r, run, lambda: r.count(only_run(r)) >= 8, run.interrupt)
        rig.expect(8 <= r.count(campaign) < 30, f"{r.count(campaign)} of 30 trials accepted")
        resumed(r, campaign, 30)


def only_run_or_none(r):
    try:
        return os.path.exists(r.store) if only_run(r) else None
    except rig.Failure:
        return None


def left_at_once(r, run, when):
    """The second interruption comes once the first was seen."""
    rig.wait_until("the moment to interrupt", when, 60, run.check)
    run.interrupt()
    rig.wait_until("word of the cancelling", lambda: "Cancelling" in run.text(), AT_ONCE_S)
    started = time.monotonic()
    run.interrupt()
    said = run.wait(128 + signal.SIGINT, AT_ONCE_S)
    rig.expect("at once" in said, f"nobody was told:\n{said}")
    rig.say(f"left {time.monotonic() - started:.3f} s after the second interruption")


def clean(r):
    p = subprocess.run([r.program("plimsoll-agent"), "--clean"], env=r.env, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
    rig.expect(p.returncode == 0, f"plimsoll-agent --clean: exit code {p.returncode}: {p.stdout}")
    return p.stdout


def need_libvirt():
    rig.need_root_and_image()
    if rig.run("virsh", "-q", "-c", "qemu:///system", "version", check=False).returncode != 0:
        rig.skip("libvirt does not answer, so there are no VMs")


def vms_are_interrupted():
    """One VM's boot interrupted in turn by Ctrl-C, twice Ctrl-C, and by a kill of everything."""
    need_libvirt()
    with rig.Rig() as r:
        run = Foreground(r, plan(r, 'backend = "kvm"  accel = "tcg"  network = "bridge"', 1), terminal=True)
        campaign = interrupted(r, run, lambda: vm_is_booting(r), run.interrupt)
        run = Foreground(r, "--resume", campaign)
        left_at_once(r, run, lambda: vm_is_booting(r))
        run = Foreground(r, "--resume", campaign)
        rig.wait_until("a VM", lambda: vm_is_booting(r), 60, run.check)
        killed = kill_everything(r)
        run.process.wait()
        rig.expect(len(killed) >= 3 and vms(r), f"{len(killed)} programs killed, VMs left: {vms(r)}")
        said = clean(r)
        rig.expect("was killed; removed what it left" in said, f"--clean said: {said}")
        host_is_as_before_now(r)
        resumed(r, campaign, 1)


def everything_is_killed(r, run):
    rig.wait_until("a container", lambda: container_is_booting(r), 60, run.check)
    killed = kill_everything(r)
    run.process.wait()
    rig.expect(len(killed) >= 4 and r.differences(), f"{len(killed)} programs killed, left: {r.differences()}")


def is_registered(r, campaign):
    """Whether the run's agent still is in the host's list, which it leaves when all else is gone."""
    agent = rig.read(os.path.join(r.env["PLIMSOLL_RUNS"], campaign, "agent", "id")).strip()
    return os.path.exists(os.path.join(rig.AGENTS_FOLDER, agent))


def the_next_start_of_any_program_cleans():
    """After a kill of everything in the middle of a container's boot: coordctl with a harmless verb, the
    coordinator, another agent, coordctl run."""
    rig.need_root_and_image()
    with rig.Rig() as r:
        r.make_keys("127.0.0.1")
        run = Foreground(r, plan(r, 'backend = "lxc"  network = "bridge"', 1))
        everything_is_killed(r, run)
        campaign = only_run(r)
        r.coordctl("list", "--local")
        host_is_as_before_now(r)
        for start in r.start_coordinator, lambda: r.start_agent("a"):
            run = Foreground(r, "--resume", campaign)
            everything_is_killed(r, run)
            start()
            service = r.services.pop()
            rig.wait_until("the killed run's leftovers to go", lambda: not is_registered(r, campaign), 20, service.keep)
            service.stop()
            host_is_as_before_now(r)
        only_run(r)
        everything_is_killed(r, Foreground(r, "--resume", campaign))
        resumed(r, campaign, 1)


def a_failed_guest_is_kept_for_a_look():
    """A container whose init stands still is not ready in time. It stays until it is removed on request;
    another program of ours that starts meanwhile leaves it alone."""
    rig.need_root_and_image()
    with rig.Rig() as r:
        run = Foreground(r, plan(r, 'backend = "lxc"', 1, 'deadline = "1s"'), "--keep-failed")

        def hold():
            for pid in container_is_booting(r):
                os.kill(pid, signal.SIGSTOP)
            return run.process.poll() is not None
        rig.wait_until("the campaign's end", hold, 60)
        said = run.wait(MISSING)
        campaign = only_run(r)
        kept = sorted(x["conditions"]["left_up"] for x in results(r, campaign).values())
        rig.expect(len(kept) == 3 and all(name in said for name in kept),
                   f"kept according to the report: {kept}; coordctl run said:\n{said}")
        rig.expect("plimsoll-agent --clean" in said, f"how to remove it is not told:\n{said}")
        rig.expect(len(contained(r, "systemd")) == 3, f"up: {contained(r)}; coordctl run said:\n{said}")
        folder = os.path.join(r.env["PLIMSOLL_RUNS"], campaign, "agent", "guests")
        look = rig.run("lxc-attach", "-P", folder, "-n", kept[0], "--", "/bin/echo", "inside", check=False)
        rig.expect(look.stdout == "inside\n", f"nobody can look into it: {look.stdout}")
        clean(r)
        host_is_as_before_now(r)


if __name__ == "__main__":
    rig.main(containers_are_interrupted, applications_are_interrupted, the_next_start_of_any_program_cleans,
             vms_are_interrupted, a_failed_guest_is_kept_for_a_look)
