#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The start-up probe's phases of VMs against what stands on the serial console.

The runner says kernel, init and ready there as well as to the agent. A program of its own reads the console
while it is written and stamps the lines. A second reader stamps late on purpose, and must be found to disagree:
else the comparison could not fail. With --planted a second kind of guest sleeps on its way up, which both must
see. Exit code 77: cannot run here, with the reason.
"""
import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

from common import LEAST_PAIRS, MS, SKIPPED, Campaign, Skip, Verdicts, held, load, read, trials
from images import PLAIN, Images

FLOOR_NS = 5 * MS
SHARE = 0.02
PLANTED_NS = 2000 * MS
STEP_S = 0.05
PATIENCE_S = 60
LINE = re.compile(r"plimsoll-runner: (kernel|init|ready)$")
METRICS = {"kernel": "kernel", "init": "init", "ready": "start"}


def plan(repeat, late=""):
    names = '("kvm", "late")' if late else '"kvm"'
    guest = 'late = { backend = "kvm"  image = "late" }' if late else ""
    return f"""campaign = {{ name = "truth-console" }}
image = {{ plain = {PLAIN}  {late} }}
guest = {{ kvm = {{ backend = "kvm"  image = "plain" }}  {guest} }}
experiment = {{ start = {{ probe = "startup"  guest = {names}  warmup = 0  repeat = {repeat} }} }}
"""


class Reader:
    """A program that reads the consoles of the VMs in a folder."""

    def __init__(self, folder, late_s=0):
        runs = os.path.join(folder, "runs")
        program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "console_reader.py")
        self.output = tempfile.TemporaryFile("w+", dir=folder)
        self.process = subprocess.Popen([sys.executable, program, runs, "--late", str(late_s)], stdout=self.output)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.output.close()

    def update(self):
        """Takes what was read meanwhile: {file: {metric: ns}}."""
        if self.process.poll() is not None:
            sys.exit(f"the console's reader ended by itself with {self.process.returncode}")
        # Another process writes at the offset that both have.
        text = os.pread(self.output.fileno(), 1 << 24, 0).decode()
        boots = {}
        for line in text[:text.rfind("\n") + 1].splitlines():
            ns, path, said = line.split(" ", 2)
            mark = LINE.search(said)
            if mark:
                boots.setdefault(path, {}).setdefault(METRICS[mark.group(1)], int(ns))
        return boots


def trial_threads(agent):
    """All but the loop's, which is the first, and those with names of their own: the stamper, libraries'."""
    tids = [int(t) for t in os.listdir(f"/proc/{agent}/task")]
    return [t for t in tids if t != agent and read(f"/proc/{agent}/task/{t}/comm").strip() == "plimsoll-agent"]


def let_speak(campaign, reader):
    """Until the campaign is over: the agent would end a VM before it has said on its slow line that it is
    ready, so from each VM's first line to its last the thread that would do so is held."""
    given_up = set()
    while not campaign.over():
        time.sleep(STEP_S)
        for path, boot in reader.update().items():
            if "kernel" in boot and "start" not in boot and path not in given_up:
                given_up.add(path)
                deadline = time.monotonic() + PATIENCE_S
                with held(trial_threads(campaign.agent())):
                    while "start" not in reader.update()[path] and time.monotonic() < deadline:
                        time.sleep(STEP_S)


def pair(list_of_samples, boots):
    """{metric: [(the probe's, the console's span from the request)]}"""
    spans = {metric: [] for metric in METRICS.values()}
    for samples in list_of_samples:
        ready_ns = samples["start"][1]
        request_ns = ready_ns - samples["start"][0]
        inside = [b for b in boots if request_ns < b.get("kernel", 0) < ready_ns]
        if len(inside) == 1:
            for metric, pairs in spans.items():
                if metric in inside[0]:
                    pairs.append((samples[metric][0], inside[0][metric] - request_ns))
    return spans


def judge(words, spans, verdicts):
    """Each phase by itself, and all events together under the bound of the shortest span."""
    least = min(len(pairs) for pairs in spans.values())
    for metric, pairs in spans.items():
        verdicts.compare(f"kvm, {words}: {metric} against the console", pairs, FLOOR_NS, least or 1)
    together = [p for pairs in spans.values() for p in pairs]
    shortest_ns = statistics.median(b for _, b in spans["kernel"]) if spans["kernel"] else 0
    bound_ns = max(FLOOR_NS, SHARE * shortest_ns)
    verdicts.within(f"kvm, {words}: all phases", [a - b for a, b in together], bound_ns, LEAST_PAIRS)


def see_late(words, spans, late_ns, verdicts):
    """The late reader's lines, under the same bounds, must not pass."""
    for metric, pairs in spans.items():
        span = statistics.median(b for _, b in pairs)
        off = statistics.median(a - b for a, b in pairs)
        print(f"kvm, {words}: {metric} against a console read {late_ns / MS:.0f} ms late: {off / MS:+.3f} ms")
        if abs(off) <= max(FLOOR_NS, SHARE * span):
            verdicts.fail("a late witness passed: this comparison cannot fail")


def see_planted(words, plain, late, verdicts):
    for side, who in enumerate(("the probe", "the console")):
        seen = statistics.median(p[side] for p in late["start"]) - statistics.median(p[side] for p in plain["start"])
        print(f"kvm, {words}: of {PLANTED_NS / MS:.0f} ms planted {who} saw {seen / MS:.1f}")
        if not PLANTED_NS / 2 < seen < 2 * PLANTED_NS:
            verdicts.fail(f"{who} did not see the planted delay")


def consoles(options, folder, verdicts):
    late, images = "", None
    if options.planted:
        images = Images(options.bin, folder)
        late = images.plant("late", 21, f"/bin/sleep {PLANTED_NS / 1e9}", disk=True)
    words = "every core busy" if options.busy else "idle"
    late_ns = 2000 * MS if options.busy else 500 * MS
    with Reader(folder) as honest, Reader(folder, late_ns / 1e9) as tardy:
        with load(options.busy):
            campaign = Campaign(options.bin, folder, plan(options.boots, late), images=images and images.folder)
            let_speak(campaign, honest)
            found = trials(campaign.report())
        boots, late_boots = list(honest.update().values()), list(tardy.update().values())
    verdicts.phases({"kvm": [s for list_of_samples in found.values() for s in list_of_samples]})
    for name, list_of_samples in found.items():
        judge(f"{name}, {words}", pair(list_of_samples, boots), verdicts)
    if verdicts.good:
        see_late(words, pair(found["kvm"], late_boots), late_ns, verdicts)
    if verdicts.good and late:
        see_planted(words, pair(found["kvm"], boots), pair(found["late"], boots), verdicts)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True, help="folder of the built programs")
    parser.add_argument("--boots", type=int, default=7, help="of each kind of guest; each has three events")
    parser.add_argument("--busy", action="store_true", help="with a spinning process on every core")
    parser.add_argument("--planted", action="store_true", help="a second kind of guest with a planted delay")
    options = parser.parse_args()
    verdicts = Verdicts()
    try:
        if os.geteuid() != 0:
            raise Skip("not root")
        with tempfile.TemporaryDirectory(prefix="plimsoll-truth-") as folder:
            os.chmod(folder, 0o711)  # QEMU's way to its disk
            consoles(options, folder, verdicts)
    except Skip as why:
        print(f"skipped: {why}")
        return SKIPPED
    return 0 if verdicts.good else 1


if __name__ == "__main__":
    sys.exit(main())
