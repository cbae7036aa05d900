# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash disable=SC2154
#
# What deploy/quickstart and deploy/test share: steps that can be interrupted, and leaving the host as it
# was found. To be sourced, with $tree (the source tree) and $out (a folder for logs) set.

# Each step is a job with a process group of its own, so that a signal reaches exactly the step's
# processes, and each once, whether it came from the keyboard or from another process.
set -m
step_job=
interrupted=

say() { printf '\n== %s\n' "$*"; }

on_signal() { # NAME
    interrupted=$1
    [[ -z $step_job ]] || kill -s "$1" -- "-$step_job" 2>/dev/null || true
}

# Runs a command to its end; its status is the step's. After a signal the script ends.
step() {
    local status
    "$@" </dev/null &
    step_job=$!
    while :; do
        status=0
        wait "$step_job" || status=$?
        kill -0 "$step_job" 2>/dev/null || break
    done
    step_job=
    [[ -z $interrupted ]] || exit $((128 + $(kill -l "$interrupted")))
    return "$status"
}

# As above with the output in a file, shown only when the command fails.
quiet_step() { # LOG COMMAND...
    local log=$1 status=0
    shift
    step "$@" >"$log" 2>&1 || status=$?
    if ((status != 0)); then
        tail -n 40 "$log"
        echo "The whole log: $log"
    fi
    return "$status"
}

build_preset() { # PRESET
    quiet_step "$out/configure-$1.log" cmake -S "$tree" --preset "$1" || return
    quiet_step "$out/build-$1.log" cmake --build "$tree/build/$1" -j "$(nproc)"
}

begin() {
    mkdir -p "$out"
    cd "$tree" || exit 1
    trap 'on_signal INT' INT
    trap 'on_signal TERM' TERM
    trap 'on_signal HUP' HUP
    trap finish EXIT
    "$tree/deploy/host-state" >"$out/host.before"
}

# What a killed run left goes first: libvirt must still be there to end its VMs.
finish() {
    local status=$? agent
    trap '' INT TERM HUP
    set +m
    for agent in "$tree"/build/{release,dev}/bin/plimsoll-agent; do
        [[ -x $agent ]] || continue
        "$agent" --clean || true
        break
    done
    "$tree/deploy/services" stop $$ || true
    if ! "$tree/deploy/host-state" --compare "$out/host.before" >"$out/host.differs"; then
        echo "note: the host differs from before (\`+\` is new, \`-\` is gone):"
        head -n 20 "$out/host.differs" | sed 's/^/  /'
        (($(wc -l <"$out/host.differs") <= 20)) || echo "  and more in $out/host.differs"
    fi
    last_words
    exit "$status"
}

# What is to stand at the very end of the output; a script may say more.
last_words() { :; }
