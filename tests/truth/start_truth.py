#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The start-up probe against witnesses that share no code with it.

Containers and processes: the kernel's tracepoints, recorded by perf on the probe's own clock. The first
instruction of the runner is witnessed by the page fault of its fetch (a program just executed has no page
mapped yet), the request by the agent's next system call (it wakes the channel's waiter right after the
stamp). Exit code 77: cannot run here, with the reason.
"""
import argparse
import os
import re
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile

from common import LEAST_PAIRS, MS, PHASES, SKIPPED, Campaign, Skip, Verdicts, load, own_mounts, trials

EVENT = re.compile(r"^\s*(.*?)\s+(\d+)/(\d+)\s+(\d+)\.(\d{9}):\s+(\S+):\s+(.*)$")
# No probe stamps a first instruction this long before it, and the next guest comes later.
AFTER_NS = 1 * MS


def plan(guests, repeat):
    sections = "\n".join(f'  {name} = {{ backend = "{name}" }}' for name in guests)
    names = ", ".join(f'"{name}"' for name in guests)
    return f"""campaign = {{ name = "truth" }}
image = {{ debian = {{ suite = "bookworm"  init = "systemd" }} }}
guest = {{
{sections}
}}
experiment = {{
  start = {{ probe = "startup"  guest = ({names})  warmup = 0  repeat = {repeat} }}
}}
"""


def run_campaign(binaries, folder, guests, repeat, before=()):
    return Campaign(binaries, folder, plan(guests, repeat), before).report()


# ---- Processes and containers: the kernel's tracepoints ----


def entry_point(program):
    """The address of an ELF64 program's first instruction (e_entry, gABI chapter 4)."""
    with open(program, "rb") as f:
        header = f.read(64)
    if header[:5] != b"\x7fELF\x02":
        sys.exit(f"{program}: not a 64-bit ELF program")
    return struct.unpack_from("<Q", header, 24)[0]


def need_perf(folder, entry):
    if not shutil.which("perf"):
        raise Skip("perf is not installed")
    data = os.path.join(folder, "try.data")
    command = trace_command(data, entry) + ["true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Skip("perf cannot record the kernel's tracepoints here: " + done.stderr.strip()[-300:])


def trace_command(data, entry):
    return ["perf", "record", "-q", "-o", data, "-k", "CLOCK_MONOTONIC", "-a",
            "-e", "sched:sched_process_exec",
            "-e", "exceptions:page_fault_user", "--filter", f"address == {entry:#x} && ip == {entry:#x}",
            "-e", "syscalls:sys_enter_mkdir",
            "-e", "syscalls:sys_enter_write", "--filter", "count == 8", "--exclude-perf", "--"]  # fmt: skip


def read_trace(data, agent):
    """Times of the runner's first instructions, and of the agent's 8-byte writes and its mkdirs (trial
    thread)."""
    done = subprocess.run(
        ["perf", "script", "-i", data, "--ns", "-F", "comm,pid,tid,time,event,trace"],
        capture_output=True, text=True, check=True)  # fmt: skip
    fetches, calls, agents = [], [], set()
    for line in done.stdout.splitlines():
        event = EVENT.match(line)
        if not event:
            continue
        comm, pid, tid, seconds, ns, name, fields = event.groups()
        at_ns = int(seconds) * 10**9 + int(ns)
        if name.endswith("sched_process_exec"):
            if re.search(r"filename=(\S+)", fields).group(1) == agent:
                agents.add(pid)
        elif name.endswith("page_fault_user"):
            if comm == "runner":
                fetches.append(at_ns)
        elif pid != tid and comm != "stamper":
            calls.append((at_ns, pid, name.endswith("mkdir")))
    ours = [(at_ns, is_mkdir) for at_ns, pid, is_mkdir in calls if pid in agents]
    return fetches, [at for at, m in ours if not m], [at for at, m in ours if m]


def pair_trial(kind, samples, fetches, writes, mkdirs):
    """(request, [first instructions]) as witnessed, or None where more or fewer guests started than the agent's."""
    ready_ns = samples["start"][1]
    request_ns = ready_ns - samples["start"][0]
    inside = [at for at in fetches if request_ns < at < ready_ns + AFTER_NS]
    if len(inside) != (2 if kind == "lxc" else 1):
        return None
    # A process's first work after the request is its cgroup's folders; and its exec wakes the agent,
    # which writes again, a little before the first instruction. Containers' folders are made elsewhere.
    before_ns = inside[0]
    if kind == "process":
        before_ns = max((at for at in mkdirs if at < before_ns), default=0)
    earlier = [at for at in writes if at < before_ns]
    return (earlier[-1], inside) if earlier else None


def judge_traced(kind, list_of_samples, trace, busy, verdicts):
    floor_ns = {"process": 0.5 if busy else 0.1, "lxc-app": 0.5, "lxc": 5}[kind] * MS
    spans = {metric: [] for metric in PHASES[kind] & {"init", "start"}}
    requests, missed = [], 0
    for samples in list_of_samples:
        witnessed = pair_trial(kind, samples, *trace)
        if not witnessed:
            missed += 1
            continue
        request_ns, firsts = witnessed
        requests.append((samples["start"][0] + request_ns, samples["start"][1]))
        spans["start"].append((samples["start"][0], firsts[-1] - request_ns))
        if "init" in spans:
            spans["init"].append((samples["init"][0], firsts[0] - request_ns))
    words = f"{kind}, {'every core busy' if busy else 'idle'}"
    if missed:
        print(f"{words}: {missed} trials without a clear witness")
    for metric, pairs in sorted(spans.items()):
        verdicts.compare(f"{words}: {metric}", pairs, floor_ns, LEAST_PAIRS)
    if requests:
        late = statistics.median(a - b for a, b in requests)
        print(f"{words}: the request's witness came {late / MS:.4f} ms after its stamp")


def containers(options, folder, verdicts):
    entry = entry_point(os.path.join(options.bin, "plimsoll-runner"))
    need_perf(folder, entry)
    kinds = ["process", "lxc-app", "lxc"]
    data = os.path.join(folder, "perf.data")
    with load(options.busy):
        report = run_campaign(options.bin, folder, kinds, 24, trace_command(data, entry))
    trace = read_trace(data, os.path.join(options.bin, "plimsoll-agent"))
    found = trials(report)
    verdicts.phases(found)
    for kind in kinds:
        judge_traced(kind, found[kind], trace, options.busy, verdicts)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True, type=os.path.realpath, help="folder of the built programs")
    parser.add_argument("--busy", action="store_true", help="with a spinning process on every core")
    options = parser.parse_args()
    verdicts = Verdicts()
    try:
        if os.geteuid() != 0:
            raise Skip("not root")
        own_mounts()
        with tempfile.TemporaryDirectory(prefix="plimsoll-truth-") as folder:
            containers(options, folder, verdicts)
    except Skip as why:
        print(f"skipped: {why}")
        return SKIPPED
    return 0 if verdicts.good else 1


if __name__ == "__main__":
    sys.exit(main())
