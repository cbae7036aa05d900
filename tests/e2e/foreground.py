# SPDX-License-Identifier: GPL-3.0-or-later
"""`coordctl run` in the foreground, as a person at a terminal or a script has it, and what can be seen of
its guests meanwhile."""
import fcntl
import os
import re
import select
import signal
import subprocess
import termios
import threading

import rig


class Foreground:
    """A `coordctl run` in a process group of its own, or on a terminal of its own."""

    def __init__(self, r, *words, terminal=False):
        self.said, self.terminal = bytearray(), terminal
        argv = [r.program("coordctl"), "run", *words, "-o", os.path.join(r.folder, "report.json")]
        self.source, theirs = os.openpty() if terminal else os.pipe()
        self.wake, self.closing = os.pipe()
        self.process = subprocess.Popen(
            argv, stdin=theirs if terminal else subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=r.env,
            start_new_session=True,
            preexec_fn=(lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)) if terminal else None)
        os.close(theirs)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        r.commands.append(self)

    def read(self):
        """Until all of the other side is closed, which a terminal tells as an error; or until close_terminal."""
        try:
            while self.wake not in select.select([self.source, self.wake], [], [])[0]:
                chunk = os.read(self.source, 65536)
                if not chunk:
                    break
                self.said += chunk
        except OSError:
            pass
        os.close(self.source)

    def text(self):
        return self.said.decode("utf-8", "replace")

    def check(self):
        rig.expect(self.process.poll() is None,
                   f"coordctl run ended by itself with {self.process.returncode}:\n{self.text()[-3000:]}")

    def interrupt(self, number=signal.SIGINT):
        """By the keyboard where there is one."""
        if self.terminal and number == signal.SIGINT:
            os.write(self.source, b"\x03")
        else:
            os.killpg(self.process.pid, number)

    def close_terminal(self):
        os.close(self.closing)
        self.reader.join()

    def stop(self, limit_s=60):
        """As a service manager would; when it is killed its programs clean behind its back."""
        if self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def wait(self, code, limit_s=60):
        try:
            self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise rig.Failure(f"coordctl run did not end within {limit_s} s:\n{self.text()[-3000:]}") from None
        self.reader.join(5)
        rig.expect(self.process.returncode == code,
                   f"coordctl run: exit code {self.process.returncode}, wanted {code}:\n{self.text()[-3000:]}")
        return self.text()


def runs(r):
    folder = r.env["PLIMSOLL_RUNS"]
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []


def only_run(r):
    """The one campaign that this rig has run; its store becomes the rig's."""
    found = runs(r)
    rig.expect(len(found) == 1, f"one campaign expected, found {found}")
    r.store = os.path.join(r.env["PLIMSOLL_RUNS"], found[0], "store.db")
    return found[0]


def cpu_ticks(pid):
    fields = rig.read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12]) if len(fields) > 12 else 0


def vms(r):
    """QEMU's pids of this rig's agents."""
    found = []
    for pid in rig.pids():
        if rig.name_of(pid).startswith("qemu-system"):
            words = rig.read(f"/proc/{pid}/cmdline")
            found += [pid] if any(f"guest=pl{i}-" in words for i in r.ids()) else []
    return found


def vm_is_booting(r):
    """The emulated processor has worked for half a second: the guest's kernel is under way."""
    return any(cpu_ticks(p) >= os.sysconf("SC_CLK_TCK") // 2 for p in vms(r))


def contained(r, name=None):
    """Pids inside containers of this rig's agents, those called `name` alone where one is given."""
    ids = [i for i in r.ids() if i]
    inside = re.compile(rf"/pl(?:{'|'.join(ids)})-\d+(?:/|$)", re.M) if ids else None
    return [p for p in rig.pids() if inside and (name is None or rig.name_of(p) == name) and rig.state_of(p) != "Z"
            and inside.search(rig.read(f"/proc/{p}/cgroup"))]


def container_is_booting(r):
    return contained(r, "systemd")


def kill_everything(r):
    """SIGKILL to every program of this rig at one moment, as far as that can be had; QEMU and what runs in
    containers are nobody's child and stay."""
    ours = [p for p in rig.pids() if re.match(r"coordctl$|plimsoll-", rig.name_of(p))
            and f"PLIMSOLL_E2E={r.token}" in rig.read(f"/proc/{p}/environ")]
    guestd = [c for p in ours for c in rig.children_of(p, "plimsoll-guestd")]
    for pid in ours + guestd:
        os.kill(pid, signal.SIGSTOP)
    for pid in ours + guestd:
        os.kill(pid, signal.SIGKILL)
    return ours + guestd
