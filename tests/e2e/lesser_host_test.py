#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""`coordctl run` on hosts that lack something: what can run does, what cannot is named with its reason, and
the exit code is 0."""
import json
import os
import shutil
import tempfile

import rig

NOBODY = 65534
ALL = ("process", "lxc-app", "lxc")


def plan(r, kinds):
    sections = "\n".join(f'  {k} = {{ backend = "{k}" }}' for k in kinds)
    return r.plan("lesser", f"""campaign = {{ name = "lesser" }}
image = {{ debian = {{ suite = "bookworm"  init = "systemd" }} }}
guest = {{
{sections}
}}
experiment = {{ start = {{ guest = ({", ".join(f'"{k}"' for k in kinds)})  warmup = 0  repeat = 2 }} }}
""")


def check(r, report, said, runs, lacks):
    """`lacks`: kind -> words of its reason, which the JSON report and what was printed both tell."""
    with open(report, encoding="utf-8") as f:
        told = json.load(f)
    names = {c["cell"]: c["guest"]["name"] for c in told["cells"]}
    ran = [names[x["cell"]] for x in told["results"] if x["accepted"]]
    rig.expect(sorted(ran) == sorted(2 * list(runs)), f"accepted were trials of {ran}, wanted two each of {runs}")
    reasons = {names[u["cell"]]: u["reason"] for u in told["unavailable"]}
    rig.expect(reasons.keys() == lacks.keys(), f"not available: {reasons}, wanted {sorted(lacks)}")
    for kind, words in lacks.items():
        rig.expect(words in reasons[kind], f"{kind}: {reasons[kind]!r} lacks {words!r}")
        rig.expect(words in " ".join(said.split()), f"{words!r} was not printed:\n{said}")


def run_with(r, kinds, prefix=(), programs=None, environment=()):
    """(path of the report, what was printed) of a run, its exit code being 0."""
    report = os.path.join(r.folder, "report.json")
    coordctl = os.path.join(programs or rig.BIN, "coordctl")
    said = rig.run("env", *environment, *prefix, coordctl, "run", plan(r, kinds), "-o", report, check=False)
    rig.expect(said.returncode == 0, f"exit code {said.returncode}:\n{said.stdout}")
    return report, said.stdout


def without_root():
    with rig.Rig() as r:
        home = tempfile.mkdtemp(prefix="plimsoll-nobody-", dir="/tmp")
        try:
            programs = os.path.join(home, "bin")
            shutil.copytree(rig.BIN, programs)
            for path in (home, r.folder):
                os.chown(path, NOBODY, NOBODY)
                os.chmod(path, 0o755)
            nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
            said = run_with(r, ALL, nobody, programs, ["-u", "PLIMSOLL_RUNS", "-u", "XDG_STATE_HOME", f"HOME={home}", f"XDG_RUNTIME_DIR={home}"])
            check(r, *said, (), {k: "needs root" for k in ALL})
        finally:
            shutil.rmtree(home)
        r.host_is_as_before()


def without_lxc():
    with rig.Rig() as r:
        programs = os.path.join(r.folder, "bin")
        shutil.copytree(rig.BIN, programs)
        os.unlink(os.path.join(programs, "plimsoll-guestd"))
        said = run_with(r, ALL, programs=programs)
        check(r, *said, ("process",), {k: "plimsoll-guestd" for k in ("lxc-app", "lxc")})
        r.host_is_as_before()


def without_libvirt():
    with rig.Rig() as r:
        hidden = ["unshare", "--mount", "--propagation", "private", "sh", "-c",
                  'mkdir -p /run/libvirt && mount -t tmpfs tmpfs /run/libvirt && exec "$@"', "sh"]
        said = run_with(r, ("process", "kvm"), hidden)
        check(r, *said, ("process",), {"kvm": "libvirt does not answer"})
        r.host_is_as_before()


def without_cgroups_that_can_be_written():
    with rig.Rig() as r:
        closed = ["unshare", "--mount", "--propagation", "private", "sh", "-c",
                  'for at in /sys/fs/cgroup /sys/fs/cgroup/*; do ! mountpoint -q "$at" || '
                  'mount -o remount,bind,ro "$at" || exit 1; done; exec "$@"', "sh"]
        said = run_with(r, ALL, closed)
        check(r, *said, (), {k: "no cgroup can be made in" for k in ALL})
        r.host_is_as_before()


if __name__ == "__main__":
    rig.need_root_and_image()
    rig.main(without_root, without_lxc, without_libvirt, without_cgroups_that_can_be_written)
