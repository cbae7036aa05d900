#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Debian's package in a root of its own that has nothing but apt: `tests/package/install_test.sh BUILD CPACK`.
# It is installed, its coordinator serves a client as the user it made, it is removed, and purged: then all
# is as it was before. The other half runs inside of the root (inside.sh).
set -euo pipefail
export LC_ALL=C DEBIAN_FRONTEND=noninteractive

build=$1
cpack=$2
here=$(realpath "$(dirname "$0")")
work=

skip() { echo "skipped: $*"; exit 77; }

[[ $(id -u) -eq 0 ]] || skip "not root, which making a root needs"
for program in mmdebstrap dpkg-shlibdeps unshare; do
    type -P "$program" >/dev/null || skip "$program is not installed"
done
suite=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
[[ -n $suite ]] || skip "this system has no name of a Debian suite, for which the package would be"

# In mounts of its own: at their end nothing of them is left, however it came.
if [[ -z ${PLIMSOLL_IN_MOUNTS-} ]]; then
    PLIMSOLL_IN_MOUNTS=1 exec unshare --mount --propagation private -- "$0" "$@"
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/plimsoll-package-XXXXXX")
# What is mounted in the root goes first.
finish() { umount -R "$work/root" 2>/dev/null || true; rm -rf --one-file-system "$work"; }
trap finish EXIT
trap 'exit 143' INT TERM HUP

"$cpack" -G DEB -B "$work/out" --config "$build/CPackConfig.cmake" >"$work/cpack.log" ||
    { cat "$work/cpack.log"; exit 1; }
package=$(find "$work/out" -maxdepth 1 -name 'plimsoll_*.deb')
# A build with sanitizers is no package to be judged.
if type -P lintian >/dev/null && grep -q '^PLIMSOLL_SANITIZE:[A-Z]*=$' "$build/CMakeCache.txt"; then
    # A guest's program cannot ask for libraries of an image that it does not know; what changed, the
    # repository tells; and the database that deploy/image writes to is an image's.
    lintian --allow-root --fail-on error \
        --suppress-tags statically-linked-binary,no-changelog,uses-dpkg-database-directly "$package"
fi

mkdir "$work/root"
mount --bind "$work/root" "$work/root"
mmdebstrap --quiet --variant=apt --include=adduser "$suite" "$work/root"
cp "$package" "$work/root/plimsoll.deb"
cp "$here/inside.sh" "$work/root/inside.sh"
mount -t proc proc "$work/root/proc"
mount --bind /dev "$work/root/dev"
mount -t tmpfs tmpfs "$work/root/run"
mount -t tmpfs -o mode=1777 tmpfs "$work/root/tmp"
chroot "$work/root" /bin/bash /inside.sh
