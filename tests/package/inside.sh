#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Runs in a fresh Debian root as /inside.sh, beside /plimsoll.deb. The exit code is 1 where anything is not as
# it must be.
set -uo pipefail
export HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

failed=0
server=

must() { # COMMAND...
    "$@" && return
    echo "FAILED ($?): $*"
    failed=1
}

must_not() { # COMMAND...
    "$@" || return 0
    echo "FAILED, it succeeded: $*"
    failed=1
}

# Mode, owner and group of a path.
has() { # PATH MODE OWNER:GROUP
    local now
    now=$(stat -c '%a %U:%G' "$1") && [[ $now == "$2 $3" ]] && return
    echo "$1: $now instead of $2 $3"
    return 1
}

# Everything of the root but what apt, dpkg and adduser keep of their own doings.
root_state() {
    find / -xdev \( -path /proc -o -path /run -o -path /tmp -o -path /dev -o -path /var/lib/dpkg \
        -o -path /var/cache -o -path /var/log \) -prune -o ! -path '/etc/*-' ! -path / ! -path /etc \
        -printf '%p %y %m %U:%G %l\n' | sort
    cat /etc/passwd /etc/group
}

dependencies_are_in_the_archive() {
    apt-get -q update >/tmp/apt.log &&
        apt-get -q -y --no-install-recommends satisfy "$(dpkg-deb -f /plimsoll.deb Depends)" >>/tmp/apt.log 2>&1 ||
        { tail -n 20 /tmp/apt.log; exit 1; }
}

modes_are_narrow() {
    must has /etc/plimsoll 755 root:root
    must has /etc/plimsoll/keys 2750 root:plimsoll
    must has /var/lib/plimsoll 711 root:root
    must has /var/lib/plimsoll/coordinator 700 plimsoll:plimsoll
    must test -z "$(find /usr/bin/coordctl /usr/bin/plimsoll-* /usr/libexec/plimsoll -perm /7022)"
}

programs_run() {
    local program
    for program in coordctl plimsoll-agent plimsoll-coordinator; do
        must "$program" --version
    done
}

# As README has it, on one machine; the ports are free ones.
configure() {
    local key client
    key=$(coordctl keys make) || return 1
    client=$(coordctl keys make /root/client.key) || return 1
    must coordctl keys allow --client client "$client"
    cat >/etc/plimsoll/coordinator.conf <<CONF
agents = "tcp://127.0.0.1:*"
clients = "tcp://127.0.0.1:*"
CONF
    printf 'coordinator_key = "%s"\nkey = "/root/client.key"\n' "$key" >/etc/plimsoll/client.conf
}

# It says so when its ports are bound, and which they are.
start_coordinator() {
    local line
    exec 3< <(exec setpriv --reuid plimsoll --regid plimsoll --clear-groups --no-new-privs \
        plimsoll-coordinator 2>&1)
    server=$!
    while read -r -t 20 line <&3; do
        if [[ $line =~ "for coordctl on "([^ ]+) ]]; then
            printf 'coordinator = "%s"\n' "${BASH_REMATCH[1]}" >>/etc/plimsoll/client.conf
            return
        fi
        echo "$line"
    done
    return 1
}

# Everything that it and its keys are is for it and root alone.
coordinator_keeps_to_itself() {
    must test -z "$(find /var/lib/plimsoll/coordinator -perm /077 -o ! -user plimsoll)"
    must test -z "$(find /etc/plimsoll/keys ! -user root -o ! -group plimsoll -o -perm /027)"
    must has /etc/plimsoll/keys/coordinator.key 640 root:plimsoll
    must has /root/client.key 600 root:root
    must grep -q "^CapEff:[[:space:]]*0000000000000000" "/proc/$server/status"
}

coordinator_serves() {
    must configure
    must start_coordinator
    must coordctl hosts
    must coordctl list
    must coordinator_keeps_to_itself
    must kill -TERM "$server"
    wait "$server"
    must test $? = 0
}

dependencies_are_in_the_archive
root_state >/tmp/before
must dpkg -i /plimsoll.deb
modes_are_narrow
programs_run
coordinator_serves
must dpkg -i /plimsoll.deb
must has /etc/plimsoll/keys/coordinator.key 640 root:plimsoll
must grep -q 127.0.0.1 /etc/plimsoll/coordinator.conf

must dpkg -r plimsoll
must test ! -e /usr/bin/coordctl
must test -e /var/lib/plimsoll/coordinator/store.db
must test -e /etc/plimsoll/keys/coordinator.key
must test ! -e /run/plimsoll

must dpkg -P plimsoll
rm -f /root/client.key
root_state >/tmp/after
must diff /tmp/before /tmp/after
must_not getent passwd plimsoll
must_not getent group plimsoll
exit "$failed"
