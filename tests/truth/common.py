# SPDX-License-Identifier: GPL-3.0-or-later
"""What the truth tests share: running a plan, its trials by kind of guest, and judging pairs of events."""
import contextlib
import ctypes
import glob
import json
import os
import statistics
import subprocess
import sys

SKIPPED = 77
MS = 1_000_000
LEAST_PAIRS = 20
ORDER = ("created", "started", "kernel", "init", "start")
PHASES = {
    "process": {"started", "start"},
    "lxc-app": {"start"},
    "lxc": {"init", "start"},
    "kvm": {"created", "started", "kernel", "init", "start"},
}
# unshare(2), mount(2)
CLONE_NEWNS = 0x00020000
MS_REC, MS_SLAVE = 0x4000, 0x80000
# ptrace(2), waitpid(2)
PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207
WAIT_ALL = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


class Skip(Exception):
    pass


def own_mounts():
    """What is mounted from here on is this process's and its children's, and goes with them, however they
    end: perf mounts tracefs and leaves it."""
    if LIBC.unshare(CLONE_NEWNS) or LIBC.mount(None, b"/", None, MS_REC | MS_SLAVE, None):
        sys.exit("no mount namespace of its own: " + os.strerror(ctypes.get_errno()))


def read(path):
    """A file's text; nothing where it is gone."""
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read()
    except OSError:
        return ""


def name_of(pid):
    return read(f"/proc/{pid}/comm").strip()


def children(pid, name):
    """Whichever thread has started them."""
    found = " ".join(map(read, glob.glob(f"/proc/{pid}/task/*/children"))).split()
    return [int(child) for child in found if name_of(child) == name]


def ptrace(request, pid):
    if LIBC.ptrace(ctypes.c_long(request), ctypes.c_long(pid), None, None) < 0:
        raise OSError(ctypes.get_errno(), f"ptrace of {pid}: {os.strerror(ctypes.get_errno())}")


@contextlib.contextmanager
def held(threads):
    """They stand still. The kernel lets them go when this program ends in whatever way, which it would not
    after SIGSTOP."""
    with contextlib.ExitStack() as stack:
        for thread in threads:
            ptrace(PTRACE_SEIZE, thread)
            ptrace(PTRACE_INTERRUPT, thread)
            os.waitpid(thread, WAIT_ALL)
            stack.callback(ptrace, PTRACE_DETACH, thread)
        yield


class Campaign:
    """A run of a plan; `before` is a command that runs the campaign's command, `images` a folder of images of
    the test's own."""

    def __init__(self, binaries, folder, plan, before=(), images=None):
        path = os.path.join(folder, "truth.plan")
        self.report_path, self.runs = os.path.join(folder, "report.json"), os.path.join(folder, "runs")
        with open(path, "w", encoding="utf-8") as f:
            f.write(plan)
        environment = dict(os.environ, PLIMSOLL_RUNS=self.runs)
        if images:
            environment["PLIMSOLL_IMAGES"] = images
        self.output = os.path.join(folder, "output")
        coordctl = [os.path.join(binaries, "coordctl"), "run", path, "-o", self.report_path]
        # Whoever kills the test leaves no guests behind.
        command = ["setpriv", "--pdeathsig", "TERM", *before, *coordctl]
        with open(self.output, "wb") as output:
            self.process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)  # fmt: skip

    def agent(self):
        """Its process, or None."""
        return next(iter(children(self.process.pid, "plimsoll-agent")), None)

    def guestd(self):
        agent = self.agent()
        return next(iter(children(agent, "plimsoll-guestd")), None) if agent else None

    def over(self):
        return self.process.poll() is not None

    def report(self):
        """Once it is over."""
        code = self.process.wait()
        if not os.path.exists(self.report_path):
            with open(self.output, encoding="utf-8", errors="replace") as f:
                sys.exit(f"the campaign made no report (exit code {code}):\n{f.read()}")
        with open(self.report_path, encoding="utf-8") as f:
            told = json.load(f)
        if told["unavailable"]:
            raise Skip("; ".join(sorted({u["reason"] for u in told["unavailable"]})))
        return told


def trials(report):
    """The guest's name in the plan -> list of {metric: (value_ns, time_ns)} in order of time."""
    names = {c["cell"]: c["guest"]["name"] for c in report["cells"]}
    found = {name: [] for name in names.values()}
    for result in report["results"]:
        if result["outcome"] in ("valid", "suspect", "rejected"):
            samples = {s["metric"]: (s["value"] * 1e9, s["time_ns"]) for s in result["samples"]}
            found[names[result["cell"]]].append(samples)
        else:
            print(f"trial {result['trial']} {result['outcome']}: {result['reason']}")
    return found


def check_phases(kind, samples):
    """What is wrong with a trial's phases, or None."""
    there = [m for m in ORDER if m in samples]
    if set(there) != PHASES[kind]:
        return f"{kind}: has the phases {there}, wanted {sorted(PHASES[kind])}"
    if any(samples[m][0] <= 0 for m in there):
        return f"{kind}: a phase is not after the request: {samples}"
    requests = [samples[m][1] - samples[m][0] for m in there]
    if max(requests) - min(requests) > 1000:
        return f"{kind}: stamps and durations name different requests: {samples}"
    times = [samples[m][1] for m in there]
    return None if times == sorted(times) else f"{kind}: phases out of order: {samples}"


class Verdicts:
    """Prints each comparison and remembers whether all were good."""

    def __init__(self):
        self.good = True

    def fail(self, words):
        print(f"FAILED: {words}")
        self.good = False

    def compare(self, what, pairs, floor_ns, least):
        """`pairs` of (the probe's, the witness's) span in ns; the tolerance is the larger of
        `floor_ns` and 2% of the median witnessed span."""
        span = statistics.median(b for _, b in pairs) if pairs else 0
        tolerance = max(floor_ns, 0.02 * span)
        self.within(f"{what}, {span / MS:.3f} ms", [a - b for a, b in pairs], tolerance, least)

    def within(self, what, differences, tolerance, least):
        """The median of `differences` in ns."""
        if len(differences) < least:
            self.fail(f"{what}: only {len(differences)} paired events, wanted {least}")
            return
        differences = sorted(differences)
        middle = statistics.median(differences)
        print(
            f"{what}: median difference {middle / MS:+.4f} ms, from {differences[0] / MS:+.4f} "
            f"to {differences[-1] / MS:+.4f}, n {len(differences)}, tolerance {tolerance / MS:.3f} ms",
            flush=True,
        )
        if abs(middle) > tolerance:
            self.fail(f"{what}: outside the tolerance")

    def phases(self, found):
        """`found` is by kind of guest."""
        for kind, list_of_samples in found.items():
            for samples in list_of_samples:
                wrong = check_phases(kind, samples)
                if wrong:
                    self.fail(wrong)


@contextlib.contextmanager
def load(busy):
    """One spinning process for each core, of usual priority."""
    spin = [sys.executable, "-c", "while True: pass"]
    children = [subprocess.Popen(spin) for _ in range(os.cpu_count() if busy else 0)]
    try:
        yield
    finally:
        for child in children:
            child.kill()
            child.wait()
