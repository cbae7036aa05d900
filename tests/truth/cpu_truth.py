#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The metric agent_cpu against what /proc says of the agent and of guestd, read from outside.

The agent uses less in a window than /proc/PID/stat can tell, so the guest keeps it busy: before its runner
starts it sends bytes, one at a time, which wake the stamping thread. Bounds: of
/proc/PID/stat, two clock ticks for each of the two processes (user and system time are cut off to ticks); of
the threads' schedstat, which is exact, 2% or 3 ms, for the windows' ends fall between two readings. Exit code
77: cannot run here, with the reason.
"""
import argparse
import bisect
import os
import statistics
import sys
import tempfile
import time

from common import LEAST_PAIRS, MS, SKIPPED, Campaign, Skip, Verdicts, own_mounts, read, trials
from images import Images

STEP_S = 0.002
TICK_NS = 10**9 // os.sysconf("SC_CLK_TCK")
PROCESSES = 2
TICKS_NS = PROCESSES * 2 * TICK_NS
# What there must be to compare: without it the metric would be outside its bounds.
LEAST_LOAD_NS = 2 * TICKS_NS
CONNECTIONS, NOISE_BYTES = 2, 60_000
# A frame's header, whose body comes in bytes of which the last never does.
NOISE = f"""use IO::Socket::UNIX;
for (1 .. {CONNECTIONS}) {{
    my $s = IO::Socket::UNIX->new(Peer => "/.plimsoll/channel/sock") or die $!;
    syswrite $s, pack("A2CCN", "PL", 1, 0, {NOISE_BYTES + 1});
    for (1 .. {NOISE_BYTES}) {{ syswrite $s, "x"; }}
}}
"""


def plan(noisy, repeat):
    return f"""campaign = {{ name = "truth-cpu" }}
image = {{ {noisy} }}
guest = {{ lxc = {{ backend = "lxc"  image = "noisy" }} }}
experiment = {{ start = {{ probe = "startup"  warmup = 0  repeat = {repeat} }} }}
"""


def ticks_ns(pid):
    """User and system time of proc(5)'s /proc/PID/stat."""
    fields = read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:13]) * TICK_NS


def threads_ns(pid):
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return 0
    return sum(int((read(f"/proc/{pid}/task/{t}/schedstat").split() or ["0"])[0]) for t in threads)


def watch(campaign):
    """[(monotonic ns, by ticks, by threads)] until the campaign is over."""
    readings = []
    while not campaign.over():
        pids = [pid for pid in (campaign.agent(), campaign.guestd()) if pid]
        if pids:
            ticks, threads = sum(map(ticks_ns, pids)), sum(map(threads_ns, pids))
            readings.append((time.monotonic_ns(), ticks, threads))
        time.sleep(STEP_S)
    return readings


def at(readings, when_ns, which):
    """What a counter had reached at a time, in a line between the readings around it."""
    after = bisect.bisect_left(readings, (when_ns,))
    if not 0 < after < len(readings):
        return None
    (t0, *a), (t1, *b) = readings[after - 1], readings[after]
    return a[which] + (b[which] - a[which]) * (when_ns - t0) / (t1 - t0)


def pair(list_of_samples, readings, which):
    """[(the metric, the growth of a counter in its window)]"""
    pairs = []
    for samples in list_of_samples:
        own_ns, end_ns = samples["agent_cpu"]
        begin_ns = samples["start"][1] - samples["start"][0]
        before, after = at(readings, begin_ns, which), at(readings, end_ns, which)
        if before is not None and after is not None:
            pairs.append((own_ns, after - before))
    return pairs


def judge(list_of_samples, readings, verdicts):
    for which, what, floor_ns in ((0, "/proc/PID/stat", TICKS_NS), (1, "schedstat", 3 * MS)):
        pairs = pair(list_of_samples, readings, which)
        verdicts.compare(f"agent_cpu against {what}", pairs, floor_ns, LEAST_PAIRS)
    load_ns = statistics.median(samples["agent_cpu"][0] for samples in list_of_samples)
    if load_ns < LEAST_LOAD_NS:
        verdicts.fail(f"agent_cpu is {load_ns / MS:.1f} ms; under {LEAST_LOAD_NS / MS:.0f} ms these bounds say little")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True, help="folder of the built programs")
    options = parser.parse_args()
    verdicts = Verdicts()
    try:
        if os.geteuid() != 0:
            raise Skip("not root")
        own_mounts()
        with tempfile.TemporaryDirectory(prefix="plimsoll-truth-") as folder:
            images = Images(options.bin, folder)
            noisy = images.plant("noisy", 22, "/usr/bin/perl /noise.pl", [("noise.pl", NOISE)])
            campaign = Campaign(options.bin, folder, plan(noisy, LEAST_PAIRS + 2), images=images.folder)
            readings = watch(campaign)
            judge(trials(campaign.report())["lxc"], readings, verdicts)
    except Skip as why:
        print(f"skipped: {why}")
        return SKIPPED
    return 0 if verdicts.good else 1


if __name__ == "__main__":
    sys.exit(main())
