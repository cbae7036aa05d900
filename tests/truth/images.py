# SPDX-License-Identifier: GPL-3.0-or-later
"""Images of the tests' own: the default image with something planted in it, in a folder that goes with the
test."""
import hashlib
import json
import os
import re
import subprocess

from common import Skip

UNIT = "etc/systemd/system/planted.service"
DROP_IN = "etc/systemd/system/sysinit.target.d/planted.conf"
# The last thing that the system's initialisation waits for, before any service: what is planted then delays
# all that follows and nothing but.
UNIT_TEXT = """[Unit]
DefaultDependencies=no
After=systemd-tmpfiles-setup.service
Before=sysinit.target
[Service]
Type=oneshot
ExecStart="""
GIB = 1 << 30
PLAIN = '{ suite = "bookworm"  init = "systemd" }'


def base(binaries, folder):
    """The folder of the image that plans get by default."""
    plan = os.path.join(folder, "image.plan")
    with open(plan, "w", encoding="utf-8") as f:
        f.write(f'image = {{ plain = {PLAIN} }}  guest = {{ lxc = {{ backend = "lxc" }} }}\n'
                "experiment = { start = { } }\n")  # fmt: skip
    said = subprocess.run([os.path.join(binaries, "coordctl"), "images", plan],
                          capture_output=True, text=True, check=False)  # fmt: skip
    found = re.search(r"^plain: built, (.*)$", said.stdout, re.M)
    if not found:
        raise Skip(f"the default image is not built here: {said.stdout}{said.stderr}")
    return os.path.realpath(found.group(1))


class Images:
    """A folder for PLIMSOLL_IMAGES with the default image and planted ones, told apart by the size that
    their recipes name for the disk."""

    def __init__(self, binaries, folder):
        self.folder, self.base = os.path.join(folder, "images"), base(binaries, folder)
        os.mkdir(self.folder, 0o711)
        with open(os.path.join(self.base, "manifest.json"), encoding="utf-8") as f:
            self.manifest = json.load(f)
        self.link(self.manifest["recipe"], self.base)

    def link(self, recipe, target):
        name = "recipe-" + hashlib.sha256(recipe.encode()).hexdigest()
        os.symlink(target, os.path.join(self.folder, name))

    def plant(self, name, disk_gib, command, files=(), disk=False):
        """The text of an image section `name`, in which all services wait for `command`, and where
        `files` of (path, text) are added; with a disk for VMs when asked for."""
        recipe = re.sub(r"^disk = \d+$", f"disk = {disk_gib * GIB}", self.manifest["recipe"], flags=re.M)
        digest = hashlib.sha256(f"planted {recipe}".encode()).hexdigest()
        target = os.path.join(self.folder, digest)
        os.mkdir(target, 0o711)
        subprocess.run(["cp", "-a", os.path.join(self.base, "root"), target], check=True)
        planted = [(UNIT, f"{UNIT_TEXT}{command}\n"),
                   (DROP_IN, "[Unit]\nWants=planted.service\n"), *files]  # fmt: skip
        for path, text in planted:
            os.makedirs(os.path.dirname(os.path.join(target, "root", path)), exist_ok=True)
            with open(os.path.join(target, "root", path), "w", encoding="utf-8") as f:
                f.write(text)
        if disk:
            self.plant_disk(target, planted)
        manifest = dict(self.manifest, digest=f"sha256:{digest}", recipe=recipe)
        with open(os.path.join(target, "manifest.json"), "w", encoding="utf-8") as f:
            json.dump(manifest, f)
        self.link(recipe, target)
        return f'{name} = {PLAIN[:-1]} disk = "{disk_gib}GiB" }}'

    def plant_disk(self, target, planted):
        for part in ("kernel", "modules.cpio"):
            os.symlink(os.path.join(self.base, part), os.path.join(target, part))
        disk = os.path.join(target, "disk.ext4")
        subprocess.run(["cp", "--sparse=always", os.path.join(self.base, "disk.ext4"), disk], check=True)
        commands = []
        for path, _ in planted:
            parts = path.split("/")
            commands += [f"mkdir /{'/'.join(parts[:n])}" for n in range(1, len(parts))]
            commands.append(f"write {os.path.join(target, 'root', path)} /{path}")
        # It complains of folders that are there, and tells so by words alone.
        subprocess.run(["debugfs", "-w", "-f", "-", disk], input="\n".join(commands), capture_output=True,
                       text=True, check=True)  # fmt: skip
        for path, text in planted:
            there = subprocess.run(["debugfs", "-R", f"cat /{path}", disk], capture_output=True, text=True,
                                   check=True)  # fmt: skip
            if there.stdout != text:
                raise RuntimeError(f"{path} is not in {disk}: {there.stderr}")
