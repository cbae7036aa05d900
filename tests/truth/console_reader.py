#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the consoles of a campaign's VMs as they are written, one after the other, and stamps each line.

Prints `NS FILE LINE` with the CLOCK_MONOTONIC of the line's end, until it is terminated.
"""
import argparse
import contextlib
import ctypes
import glob
import os
import select
import time

# inotify(7)
IN_MODIFY = 0x2
IN_CLOEXEC = 0o2000000
STEP_S = 0.02
LIBC = ctypes.CDLL(None, use_errno=True)


def next_console(runs, seen):
    while True:
        for path in glob.glob(os.path.join(runs, "*/agent/guests/*/console.log")):
            if path not in seen:
                return path
        time.sleep(STEP_S)


def follow(path, late_s):
    """Until the file is gone."""
    notices = LIBC.inotify_init1(IN_CLOEXEC)
    if notices < 0 or LIBC.inotify_add_watch(notices, os.fsencode(path), IN_MODIFY) < 0:
        raise OSError(ctypes.get_errno(), path)
    part = ""
    with open(path, "rb") as console:
        while os.path.exists(path):
            if select.select([notices], [], [], STEP_S)[0]:
                time.sleep(late_s)
                now_ns = time.monotonic_ns()
                os.read(notices, 4096)
                *lines, part = (part + console.read().decode("utf-8", "replace")).split("\n")
                for line in lines:
                    print(now_ns, path, line.strip(), flush=True)
    os.close(notices)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", help="folder of the campaign's state, PLIMSOLL_RUNS")
    parser.add_argument("--late", type=float, default=0, metavar="SECONDS", help="how long before it stamps")
    options = parser.parse_args()
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(40))
    seen = set()
    while True:
        path = next_console(options.runs, seen)
        seen.add(path)
        with contextlib.suppress(FileNotFoundError):
            follow(path, options.late)


if __name__ == "__main__":
    main()
