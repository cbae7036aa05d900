#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent's processor time inside timed windows of a second and more: its own metric, and the
processor clocks of agent and guestd read from outside at the same time.

Windows: boots of VMs, where this host boots any, and two seconds of waiting for a guest that is
not there (backend `fake`), which is the floor: no launcher at work.
"""
import glob
import os
import shutil
import statistics
import tempfile
import time

import common

TARGET = 0.005
READING_S = 0.005
PLAN = """
campaign = { name = "bench-agent"  title = "The agent in its windows" }
image = { debian = { suite = "bookworm"  init = "systemd" } }
guest = {
  wait = { backend = "fake"  ready_after = "2s" }
  kvm  = { backend = "kvm"  image = "debian"  memory = "1GiB" }
}
experiment = {
  windows = { probe = "startup"  guest = ("wait", "kvm")  warmup = 0
              repeat = { default = 5  kvm = 20  tcg = 5 } }
}
"""


def children(pid):
    """Whichever thread has started them: guestd is the trial thread's."""
    found = []
    for path in glob.glob(f"/proc/{pid}/task/*/children"):
        try:
            with open(path, encoding="ascii") as f:
                found += [int(word) for word in f.read().split()]
        except OSError:
            pass  # a thread that has ended
    return found


def program_of(pid):
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8") as f:
            return f.read().strip()
    except OSError:
        return ""


def find_agent(pid):
    """The agent and its helper below coordctl; kernel names end after 15 characters."""
    for child in children(pid):
        if program_of(child) == "plimsoll-agent":
            return [child] + [c for c in children(child) if program_of(c) == "plimsoll-guestd"]
    return []


def cpu_ns(pid):
    """A process's processor clock, in ns and exact, unlike the ticks of /proc/PID/stat: the clock
    id is made as clock_getcpuclockid(3) makes it."""
    try:
        return time.clock_gettime_ns((~pid << 3) | 2)
    except OSError:
        return 0


def watch(campaign):
    """[(monotonic ns, processor ns)] until the run is over."""
    readings = []
    while campaign.process.poll() is None:
        pids = find_agent(campaign.process.pid)
        if pids:
            readings.append((time.monotonic_ns(), sum(cpu_ns(pid) for pid in pids)))
        time.sleep(READING_S)
    return readings


def between(readings, begin_ns, end_ns):
    """Processor time by the readings that lie within the window: it is at most two readings longer.
    Before it the next trial is prepared, after it the last one is written down: neither is in it."""
    inside = [r for r in readings if begin_ns <= r[0] <= end_ns]
    if len(inside) < 2:
        return None
    return inside[-1][1] - inside[0][1]


def windows(report, readings):
    """{guest: [(seconds, own metric, from outside)]}"""
    names = {cell["cell"]: cell["guest"]["name"] for cell in report["cells"]}
    found = {}
    for result in report["results"]:
        samples = {s["metric"]: s for s in result["samples"]}
        if result["outcome"] == "failed" or "start" not in samples:
            continue
        span = samples["start"]["value"]
        if span < 1:
            continue
        end_ns = int(samples["start"]["time_ns"])
        seen = between(readings, end_ns - int(span * 1e9), end_ns)
        found.setdefault(names[result["cell"]], []).append(
            (span, samples["agent_cpu"]["value"] / span,
             None if seen is None else seen / 1e9 / span))
    return found


def why_not(report, guest):
    for host in report["hosts"]:
        for offer in host["offers"]:
            if offer["guest"] == guest and not offer["available"]:
                return "not here: " + offer["reason"]
    return "no window of a second and more"


def main():
    parent = os.environ.get("PLIMSOLL_RUNS") or "/var/tmp"
    os.makedirs(parent, exist_ok=True)
    folder = tempfile.mkdtemp(prefix="plimsoll-bench-", dir=parent)
    try:
        campaign = common.Campaign(PLAN, folder)
        readings = watch(campaign)
        report = campaign.report()
    finally:
        shutil.rmtree(folder)
    found = windows(report, readings)
    if not found:
        raise SystemExit("no window of a second and more: nothing to say")
    for missing in {"wait", "kvm"} - set(found):
        print(f"agent cpu    {missing}: {why_not(report, missing)}")
    for guest, rows in sorted(found.items()):
        own = [100 * row[1] for row in rows]
        outside = [100 * row[2] for row in rows if row[2] is not None]
        seen = common.text(outside, " %") if outside else "not seen"
        median_s = statistics.median(row[0] for row in rows)
        met = max(own) <= 100 * TARGET
        print(f"agent cpu    {guest}, windows of {median_s:.2f} s: own metric {common.text(own, ' %')}")
        print(f"             from outside {seen}")
        print(f"             target: every window under {100 * TARGET} % of a core: "
              f"{'met' if met else 'NOT met'} (most {max(own):.3f} %)")


main()
