# SPDX-License-Identifier: GPL-3.0-or-later
"""What the benches share: running a plan with throw-away state, and describing a spread."""
import json
import os
import statistics
import subprocess
import sys
import tempfile


def spread(values):
    """(lower quartile, median, upper quartile)"""
    if len(values) < 2:
        return values[0], values[0], values[0]
    lower, _, upper = statistics.quantiles(values, n=4, method="inclusive")
    return lower, statistics.median(values), upper


def text(values, unit=""):
    lower, median, upper = spread(values)
    return f"{median:.3f}{unit} [{lower:.3f}, {upper:.3f}], n = {len(values)}"


def programs():
    """The folder with the programs to measure, as `run` passes it."""
    return os.path.join(os.environ["PLIMSOLL_BENCH_BUILD"], "bin")


class Campaign:
    """One `coordctl run` in a folder of its own under the state folder's file system: the spool
    and the store must stand where fdatasync costs what it costs."""

    def __init__(self, plan, parent):
        self.folder = tempfile.mkdtemp(prefix="campaign-", dir=parent)
        self.plan = os.path.join(self.folder, "bench.plan")
        self.report_path = os.path.join(self.folder, "report.json")
        with open(self.plan, "w", encoding="utf-8") as f:
            f.write(plan)
        self.log = os.path.join(self.folder, "output")
        with open(self.log, "wb") as out:
            self.process = subprocess.Popen(
                [os.path.join(programs(), "coordctl"), "run", self.plan, "-o", self.report_path],
                env={**os.environ, "PLIMSOLL_RUNS": os.path.join(self.folder, "runs")},
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)

    def report(self):
        if self.process.wait(timeout=900) != 0:
            with open(self.log, encoding="utf-8", errors="replace") as f:
                sys.exit(f"coordctl run ended with {self.process.returncode}:\n{f.read()}")
        with open(self.report_path, encoding="utf-8") as f:
            return json.load(f)

    def store(self):
        runs = os.path.join(self.folder, "runs")
        (name,) = os.listdir(runs)
        return os.path.join(runs, name, "store.db")
