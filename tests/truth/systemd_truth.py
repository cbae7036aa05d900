#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""When full containers are ready, against systemd's own stamps.

What `systemd-analyze` reads, asked of each container's systemd while guestd, which would end it, is held:
when the default target was reached, against ready; the beginning of user space must lie after the phase init,
which the kernel's tracepoints judge (start_truth.py). Container and host have one CLOCK_MONOTONIC. A second
kind of guest sleeps on its way up, which both must see. Exit code 77: cannot run here, with the reason.
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
# The agent waits 10 s for guestd, which is held meanwhile.
ANSWER_S = 8


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
        self.last_words = ""  # of a systemctl that failed

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
            until = time.monotonic() + ANSWER_S
            while os.path.exists(f"/proc/{init}") and not stamps.get("finish"):
                if time.monotonic() > until:
                    sys.exit(f"a container's systemd does not tell its stamps: {self.last_words}")
                time.sleep(STEP_S)
                # Until then systemd is left alone: its answers would take the time that is measured.
                if children(init, "runner"):
                    stamps = self.stamps(init)
        if stamps.get("finish"):
            self.boots.append(stamps)

    def stamps(self, init):
        """{phase: ns}, 0 for what has not come yet; empty while systemd does not answer."""
        # Its root is named, since where the test itself runs in a chroot, its namespace's is another.
        inside = ["nsenter", "--target", str(init), "--all", "--root", "--wd"]
        inside += ["systemctl", "show", "--property", ",".join(PROPERTIES)]
        said = ""
        for unit in ([], ["default.target"]):
            done = subprocess.run(inside + unit, capture_output=True, text=True, check=False)
            self.last_words = done.stderr.strip() or self.last_words
            said += done.stdout
        pairs = (line.split("=", 1) for line in said.splitlines() if "=" in line)
        return {PROPERTIES[key]: int(us) * 1000 for key, us in pairs}


def pair(list_of_samples, boots):
    """[(the probe's, systemd's span from the request to ready)] of the boots inside each trial."""
    spans = []
    for samples in list_of_samples:
        ready_ns = samples["start"][1]
        request_ns = ready_ns - samples["start"][0]
        inside = [b for b in boots if request_ns < b["init"] < ready_ns]
        if len(inside) == 1:
            spans.append((samples["start"][0], inside[0]["start"] - request_ns))
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


def judge(found, boots, words, verdicts):
    for samples in found["lxc"] + found["late"]:
        wrong = order(samples, boots)
        if wrong:
            verdicts.fail(wrong)
    spans = {name: pair(found[name], boots) for name in ("lxc", "late")}
    for name, pairs in spans.items():
        verdicts.compare(f"{name}, {words}: ready against systemd", pairs, FLOOR_NS, LEAST_PAIRS)
    if not verdicts.good:
        return
    for side, who in enumerate(("the probe", "systemd")):
        late, plain = (statistics.median(p[side] for p in spans[n]) for n in ("late", "lxc"))
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
            found = trials(campaign.report())
        verdicts.phases({"lxc": found["lxc"] + found["late"]})
        judge(found, watch.boots, "every core busy" if options.busy else "idle", verdicts)
    except Skip as why:
        print(f"skipped: {why}")
        return SKIPPED
    return 0 if verdicts.good else 1


if __name__ == "__main__":
    sys.exit(main())
