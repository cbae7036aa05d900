#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Manual pages are well-formed and tell of every option that the programs take, and of no other:
# `tests/package/manual_test.sh PAGES SOURCE`. The options are read where the programs have their tables.
set -euo pipefail
export LC_ALL=C.UTF-8

pages=$1
tree=$2
failed=0

fail() { echo "FAILED: $*"; failed=1; }

page_options() { sed -n 's/^\.It Sy .*\(\\-\\-[a-z\\-]*\).*/\1/p' "$1" | tr -d '\\' | sort -u; }
getopt_options() { grep -oE '[{]"[a-z-]+", [a-z]+_argument' "$1" | sed 's/^{"\([a-z-]*\)".*/--\1/' | sort -u; }
verb_options() {
    sed -n '/option_row rows\[\]/,/^ *};/p' "$tree"/coordinator/ctl/[a-z]*.c |
        grep -oE '[{]\.name = "[a-z-]+"' | sed 's/.*"\(.*\)"/--\1/'
    # The macro's rows are for every verb that connects.
    sed -n '/define CLIENT_OPTION_ROWS/,/^$/p' "$tree/coordinator/ctl/client.h" |
        grep -oE '\.name = "[a-z-]+"' | sed 's/.*"\(.*\)"/--\1/'
}

same() { # WHAT PAGE TABLE
    local odd
    [[ -n $3 ]] || fail "no options were found for $1"
    odd=$(comm -3 <(page_options "$2") <(sort -u <<<"$3") | xargs)
    [[ -z $odd ]] || fail "$1: only in one of manual and program: $odd"
}

for page in "$pages"/*.[158]; do
    said=$(mandoc -Tlint -Wwarning "$page") || fail "$said"
    said=$(man --warnings -l -Tutf8 -Z "$page" 2>&1 >/dev/null)
    [[ -z $said ]] || fail "$page: $said"
done
same agent "$pages/plimsoll-agent.8" "$(getopt_options "$tree/agent/main.c")"
same coordinator "$pages/plimsoll-coordinator.8" "$(getopt_options "$tree/coordinator/main.c")"
same coordctl "$pages/coordctl.1" "$(verb_options)"
for verb in "$tree"/coordinator/ctl/[a-z]*.c; do
    name=$(sed -n '/^const struct verb verb_/,/^};/s/^ *\.name = "\([a-z]*\)".*/\1/p' "$verb")
    for name in $name; do
        grep -q "^\.Ss coordctl $name" "$pages/coordctl.1" || fail "coordctl.1 has no verb $name"
    done
done
for pair in agent.conf:agent/config.c coordinator.conf:coordinator/daemon.c client.conf:coordinator/ctl/target.c; do
    for key in $(sed -n '/struct key_row /,/^};/s/^ *{\.name = "\([a-z_]*\)".*/\1/p' "$tree/${pair#*:}"); do
        grep -q "^\.It Sy \"\\\\&$key\"" "$pages/${pair%:*}.5" || fail "${pair%:*}.5 has no key $key"
    done
done
exit "$failed"
