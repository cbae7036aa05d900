#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The start-up probe's phases of full containers against systemd's own stamps.

What `systemd-analyze` reads, asked of each container's systemd while guestd, which would end it, is held:
when user space began, against the phase init, and when the default target was reached, against ready. Between
init and the former lies the loading of systemd, which is measured for itself and taken off. Container and host
have one CLOCK_MONOTONIC. A second kind of guest sleeps on its way up, which both must see. Exit code
77: cannot run here, with the reason.
"""
import argparse
import glob
import os
import statistics
import subprocess
import sys
import tempfile
import time

from common import (LEAST_PAIRS, MS, SKIPPED, Campaign, Skip, Verdicts, children, held, load, name_of,
                    own_mounts, read, trials)  # fmt: skip
from images import PLAIN, Images

FLOOR_NS = 5 * MS
PLANTED_NS = 50 * MS
# A sleep may be longer than asked for, and a boot faster than another.
SEEN_NS = 40 * MS
STEP_S = 0.02
PROPERTIES = {
    "UserspaceTimestampMonotonic": "init",
    "FinishTimestampMonotonic": "finish",
    "ActiveEnterTimestampMonotonic": "start",
}
LOADS = 20


def plan(late, repeat):
    return f"""campaign = {{ name = "truth-systemd" }}
image = {{ plain = {PLAIN}  {late} }}
guest = {{
  lxc = {{ backend = "lxc"  image = "plain" }}
  late = {{ backend = "lxc"  image = "late" }}
}}
experiment = {{
  start = {{ probe = "startup"  guest = ("lxc", "late")  warmup = 0  repeat = {repeat} }}
}}
"""


class Watch:
    """Finds each container of a campaign once, and asks its systemd."""

    def __init__(self, campaign):
        self.campaign, self.seen, self.boots = campaign, set(), []

    def run(self):
        while not self.campaign.over():
            guestd, init = self.campaign.guestd(), self.container()
            if guestd and init:
                self.ask(guestd, init)
            time.sleep(STEP_S)

    def container(self):
        """The init of a container that has become systemd and was not asked yet, or None."""
        ids = [read(path).strip() for path in glob.glob(os.path.join(self.campaign.runs, "*/agent/id"))]
        for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
            if name_of(pid) == "systemd" and pid not in self.seen:
                if any(f"plimsoll-{i}/" in read(f"/proc/{pid}/cgroup") for i in ids if i):
                    return pid
        return None

    def ask(self, guestd, init):
        self.seen.add(init)
        if os.readlink(f"/proc/{init}/ns/time") != os.readlink("/proc/self/ns/time"):
            sys.exit("the container's clock is another one than the host's")
        with held([guestd]):
            stamps = {}
            while os.path.exists(f"/proc/{init}") and not stamps.get("finish"):
                time.sleep(STEP_S)
                # Until then systemd is left alone: its answers would take the time that is measured.
                if children(init, "runner"):
                    stamps = self.stamps(init)
        if stamps.get("finish"):
            self.boots.append(stamps)

    def stamps(self, init):
        """{phase: ns}, 0 for what has not come yet; empty while systemd does not answer."""
        inside = ["nsenter", "--target", str(init), "--all", "systemctl", "show", "--property", ",".join(PROPERTIES)]
        said = ""
        for unit in ([], ["default.target"]):
            done = subprocess.run(inside + unit, capture_output=True, text=True, check=False)
            said += done.stdout
        pairs = (line.split("=", 1) for line in said.splitlines() if "=" in line)
        return {PROPERTIES[key]: int(us) * 1000 for key, us in pairs}


def run_ns(*command):
    """The shortest of some runs: nothing was in its way."""
    times = []
    for _ in range(LOADS):
        begin_ns = time.monotonic_ns()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        times.append(time.monotonic_ns() - begin_ns)
    return min(times)


def loading_ns(root):
    """How much longer than a small program the image's systemd takes to its first lines, at the least."""
    return run_ns("chroot", root, "/lib/systemd/systemd", "--version") - run_ns("chroot", root, "/bin/true")


def pair(list_of_samples, boots, load_ns):
    """{phase: [(the probe's, systemd's span from the request)]} of the boots inside each trial."""
    spans = {"init": [], "start": []}
    for samples in list_of_samples:
        ready_ns = samples["start"][1]
        request_ns = ready_ns - samples["start"][0]
        inside = [b for b in boots if request_ns < b["init"] < ready_ns]
        if len(inside) == 1:
            spans["init"].append((samples["init"][0], inside[0]["init"] - load_ns - request_ns))
            spans["start"].append((samples["start"][0], inside[0]["start"] - request_ns))
    return spans


def order(samples, boots):
    """What is wrong with the order of events in a trial, or None."""
    init_ns, ready_ns = samples["init"][1], samples["start"][1]
    for boot in boots:
        if init_ns < boot["start"] < ready_ns and not init_ns < boot["init"]:
            return f"init was stamped after systemd had begun: {samples}, {boot}"
        if init_ns < boot["init"] < ready_ns and not boot["start"] < ready_ns:
            return f"ready was stamped before the default target was reached: {samples}, {boot}"
    return None


def judge(found, boots, load_ns, words, verdicts):
    print(f"{words}: loading systemd takes {load_ns / MS:.3f} ms")
    for samples in found["lxc"] + found["late"]:
        wrong = order(samples, boots)
        if wrong:
            verdicts.fail(wrong)
    spans = {name: pair(found[name], boots, load_ns) for name in ("lxc", "late")}
    for name, phases in spans.items():
        for phase, pairs in phases.items():
            what = f"{name}, {words}: {phase} against systemd"
            verdicts.compare(what, pairs, FLOOR_NS, LEAST_PAIRS)
    if not verdicts.good:
        return
    for side, who in enumerate(("the probe", "systemd")):
        late, plain = (statistics.median(p[side] for p in spans[n]["start"]) for n in ("late", "lxc"))
        print(f"{words}: of {PLANTED_NS / MS:.0f} ms planted {who} saw {(late - plain) / MS:.3f}")
        if not SEEN_NS < late - plain < 2 * PLANTED_NS:
            verdicts.fail(f"{who} did not see the planted delay")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True, help="folder of the built programs")
    parser.add_argument("--busy", action="store_true", help="with a spinning process on every core")
    options = parser.parse_args()
    verdicts = Verdicts()
    try:
        if os.geteuid() != 0:
            raise Skip("not root")
        own_mounts()
        with tempfile.TemporaryDirectory(prefix="plimsoll-truth-") as folder:
            images = Images(options.bin, folder)
            late = images.plant("late", 21, f"/bin/sleep {PLANTED_NS / 1e9}")
            with load(options.busy):
                campaign = Campaign(options.bin, folder, plan(late, 22), images=images.folder)
                watch = Watch(campaign)
                watch.run()
                load_ns = loading_ns(os.path.join(images.base, "root"))
            found = trials(campaign.report())
        verdicts.phases({"lxc": found["lxc"] + found["late"]})
        judge(found, watch.boots, load_ns, "every core busy" if options.busy else "idle", verdicts)
    except Skip as why:
        print(f"skipped: {why}")
        return SKIPPED
    return 0 if verdicts.good else 1


if __name__ == "__main__":
    sys.exit(main())
