#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""An empty trial, from its assignment to the next one's, beside a bare fdatasync.

The guest is `fake` without any delay; what remains is the coordinator, the sockets, the agent, its
spool and the store. Floor and campaign take turns on one file system. The floor overwrites pages
that are there already, as the spool and the store's log mostly do; appends, which also have to make
the file longer, are shown beside it.
"""
import os
import shutil
import sqlite3
import statistics
import tempfile
import time

import common

ROUNDS = 5
TRIALS = 200
TARGET_MS = 6.0
PLAN = f"""
campaign = {{ name = "bench-empty"  title = "Empty trials" }}
guest = {{ nothing = {{ backend = "fake"  ready_after = "0s" }} }}
experiment = {{ empty = {{ probe = "startup"  guest = "nothing"  warmup = 0  repeat = {TRIALS} }} }}
"""


def floor_ms(folder, name, flags):
    """Writes of one page, each made durable by itself."""
    spans = []
    path = os.path.join(folder, name)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o600)
    try:
        if not flags & os.O_APPEND:
            os.write(fd, b"y" * 4096 * TRIALS)
            os.fsync(fd)
        for i in range(TRIALS):
            begin = time.monotonic_ns()
            if flags & os.O_APPEND:
                os.write(fd, b"x" * 4096)
            else:
                os.pwrite(fd, b"x" * 4096, 4096 * i)
            os.fdatasync(fd)
            spans.append((time.monotonic_ns() - begin) / 1e6)
    finally:
        os.close(fd)
        os.unlink(path)
    return statistics.median(spans)


def round_trips_ms(folder):
    campaign = common.Campaign(PLAN, folder)
    report = campaign.report()
    valid = sum(group["counts"]["valid"] for group in report["groups"])
    if valid != TRIALS:
        raise SystemExit(f"{valid} of {TRIALS} trials are valid: nothing to say")
    with sqlite3.connect(f"file:{campaign.store()}?mode=ro", uri=True) as db:
        begun = [row[0] for row in db.execute("SELECT started_ns FROM attempt ORDER BY started_ns")]
    return [(b - a) / 1e6 for a, b in zip(begun, begun[1:])]


def main():
    parent = os.environ.get("PLIMSOLL_RUNS") or "/var/tmp"
    os.makedirs(parent, exist_ok=True)
    folder = tempfile.mkdtemp(prefix="plimsoll-bench-", dir=parent)
    try:
        trips, floors, appends, ratios = [], [], [], []
        for _ in range(ROUNDS):
            floor = floor_ms(folder, "floor", 0)
            appends.append(floor_ms(folder, "appended", os.O_APPEND))
            round_trips = round_trips_ms(folder)
            floors.append(floor)
            trips += round_trips
            ratios.append(statistics.median(round_trips) / floor)
    finally:
        shutil.rmtree(folder)
    met = statistics.median(trips) <= TARGET_MS
    print(f"round trip   assign to assign {common.text(trips, ' ms')}")
    print(f"             fdatasync of a page in place, medians of {TRIALS} a round "
          f"{common.text(floors, ' ms')}")
    print(f"             of an appended page {common.text(appends, ' ms')}")
    print(f"             round trip / in place {common.text(ratios)}")
    print(f"             target: at most {TARGET_MS} ms: {'met' if met else 'NOT met'}")


main()
