#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Runs inside a host of deploy/lab, as root, in the source tree: what must work on unified cgroups (v2)
# under systemd. `tests/lab/v2_inside.sh BUILD`; the exit code is 1 if anything did not.
set -uo pipefail

build=$1
failed=0

heading() { printf '\n== %s (at %s s)\n' "$*" "$(cut -d' ' -f1 /proc/uptime)"; }

# A test that finds no ground to stand on is skipped elsewhere; here it must run.
must() { # COMMAND...
    local status=0
    "$@" || status=$?
    ((status == 0)) && return
    echo "FAILED ($status): $*"
    failed=1
}

same_as_before() { deploy/host-state --compare /tmp/before; }

the_host_is_what_it_should_be() {
    must test -d /run/systemd/system
    must test "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs
}

tests_pass() {
    local test
    for test in borrowed host; do
        must "$build/tests/test_$test"
    done
    for test in fake process lxc-app lxc; do
        heading "contract $test"
        must "$build/tests/contract_battery" "$test"
    done
}

# What is there of `"key": value` in a JSON file, whatever its spaces and line breaks.
json_has() { tr -d ' \n' <"$1" | grep -qF "$2"; }

doctor_knows_the_host() {
    local backend
    coordctl doctor
    coordctl doctor --json >/tmp/doctor.json || true
    for backend in process lxc-app lxc; do
        must json_has /tmp/doctor.json "\"name\":\"$backend\",\"built\":true,\"available\":true"
    done
    must json_has /tmp/doctor.json '"key":"cgroup.layout","value":"v2"'
    must json_has /tmp/doctor.json '"key":"host.init","value":"systemd"'
}

plan() {
    cat <<'PLAN'
campaign = { name = "lab" }
image = { debian = { suite = "bookworm"  init = "systemd" } }
guest = {
  process = { backend = "process" }
  app     = { backend = "lxc-app"  memory = "256MiB"  network = "bridge" }
  full    = { backend = "lxc"      memory = "256MiB"  network = "bridge" }
}
experiment = { start = { guest = ("process", "app", "full")  warmup = 1  repeat = 3 } }
PLAN
}

a_plan_runs() {
    must coordctl run /tmp/lab.plan -o /tmp/report.json
    must json_has /tmp/report.json '"key":"cgroup.layout","value":"v2"'
    must json_has /tmp/report.json '"key":"host.init","value":"systemd"'
}

is_up() { # UNIT
    systemctl is-active -q "plimsoll-$1" && [[ $(systemctl show -P NRestarts "plimsoll-$1") == 0 ]]
}

# As README has it, coordinator, host and client being one machine.
configure_a_fleet() {
    local server host client
    server=$(coordctl keys make)
    host=$(coordctl keys make /etc/plimsoll/agent.key)
    client=$(coordctl keys make /etc/plimsoll/lab.key)
    cat >/etc/plimsoll/agent.conf <<AGENT
name = "b"
coordinator = "tcp://127.0.0.1:7461"
coordinator_key = "$server"
key = "/etc/plimsoll/agent.key"
allow_process = true
AGENT
    cat >/etc/plimsoll/client.conf <<CLIENT
coordinator = "tcp://127.0.0.1:7462"
coordinator_key = "$server"
key = "/etc/plimsoll/lab.key"
CLIENT
    must coordctl keys allow --agent b "$host"
    must coordctl keys allow --client lab "$client"
    # A leak sanitizer stops its own process by ptrace, which the unit forbids.
    mkdir -p /run/systemd/system/plimsoll-coordinator.service.d
    printf '[Service]\nEnvironment=ASAN_OPTIONS=detect_leaks=0\n' \
        >/run/systemd/system/plimsoll-coordinator.service.d/lab.conf
    systemctl daemon-reload
}

services_run_a_plan() {
    configure_a_fleet
    must systemctl enable --now plimsoll-coordinator
    must systemctl enable --now plimsoll-agent
    must coordctl submit --wait /tmp/lab.plan
    must coordctl hosts
    must is_up coordinator
    must is_up agent
    must test "$(systemctl show -P User plimsoll-coordinator)" = plimsoll
    must test -z "$(find /var/lib/plimsoll/coordinator -perm /077 -o ! -user plimsoll)"
    must test -z "$(find /var/lib/plimsoll/agent /run/plimsoll -perm /022 ! -type l -o ! -user root)"
    must test -z "$(find /etc/plimsoll/keys /etc/plimsoll/*.key -perm /027 -o ! -user root)"
    systemd-analyze security --no-pager plimsoll-coordinator | tail -n 1
    systemd-analyze security --no-pager plimsoll-agent | tail -n 1
    cat "/sys/fs/cgroup/system.slice/plimsoll-agent.service/cgroup.procs"
    must systemctl disable --now plimsoll-agent plimsoll-coordinator
    must test "$(systemctl show -P Result plimsoll-agent plimsoll-coordinator | sort -u | xargs)" = success
    ((failed == 0)) || journalctl --no-pager -u 'plimsoll-*' | tail -n 40
}

# The guests' image is mounted in it and stays.
package_leaves_nothing() {
    rm -r /run/systemd/system/plimsoll-coordinator.service.d
    must dpkg -P plimsoll
    must same_as_before
    must test ! -e /etc/plimsoll
    must test ! -e /run/plimsoll
    must test -z "$(find /var/lib/plimsoll -mindepth 1 -maxdepth 1 ! -name images)"
    must test -z "$(systemctl list-unit-files --no-legend plimsoll-agent.service plimsoll-coordinator.service)"
    must test -z "$(getent passwd plimsoll)$(getent group plimsoll)"
    must test -z "$(find /sys/fs/cgroup -name '*plimsoll*')"
}

deploy/host-state >/tmp/before
plan >/tmp/lab.plan
heading "the host"
the_host_is_what_it_should_be
tests_pass
heading "doctor"
doctor_knows_the_host
heading "coordctl run"
a_plan_runs
heading "services of systemd"
services_run_a_plan
heading "what is left"
must same_as_before
package_leaves_nothing
exit "$failed"
