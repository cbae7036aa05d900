#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Drives bash's completion of coordctl: `tests/package/completion_test.sh COMPLETION COORDCTL`.
set -euo pipefail

# shellcheck source=/dev/null
source "$1"
program=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/runs/nightly-1" "$work/runs/figure-2" "$work/plans/folder"
touch "$work/plans/a.plan" "$work/plans/a.txt"
export PLIMSOLL_RUNS=$work/runs
failed=0

# What is offered for the last of WORDS is exactly EXPECTED, a list.
offers() { # EXPECTED WORDS...
    local expected=$1 now
    shift
    COMP_WORDS=("$program" "$@")
    COMP_CWORD=$#
    _coordctl
    now=$(printf '%s\n' "${COMPREPLY[@]}" | sort | xargs)
    [[ $now == "$expected" ]] && return
    echo "FAILED: \`coordctl $*\` offers \`$now\`, expected \`$expected\`"
    failed=1
}

all=$("$program" help | sed -n 's/^  \([a-z]*\) .*/\1/p' | sort | xargs)
[[ $all == *"check"*"report"*"watch"* ]]
offers "$all" ""
offers "submit" sub
offers "--keep-failed" run --ke
offers "--build" images a.plan --b
offers "csv" report nightly-1 --format cs
offers "figure-2 nightly-1" report ""
offers "nightly-1" run --resume n
offers "figure-2" status f
offers "allow list make" keys ""
cd "$work/plans"
offers "a.plan folder" check ""
offers "a.plan" run a
offers "a.plan a.txt" report nightly-1 -o a
exit "$failed"
