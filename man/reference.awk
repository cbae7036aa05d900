# SPDX-License-Identifier: GPL-3.0-or-later
# plans/REFERENCE.md to mdoc: its headings, paragraphs, tables and the one kind of block it has.
function plain(text) {
    gsub(/\\/, "\\e", text)
    gsub(/-/, "\\-", text)
    gsub(/[.] +/, ".\n", text)
    gsub(/[`*]/, "", text)
    sub(/^[.']/, "\\\\\\&&", text)
    return text
}
function end_list() {
    if (in_list)
        print ".El"
    in_list = 0
}
BEGIN { fresh = 1 }
/^<!--/ || /^# / { next }
/^```/ {
    print in_block ? ".Ed" : ".Bd -literal -offset indent"
    in_block = !in_block
    next
}
in_block { print plain($0); next }
/^## / { end_list(); print ".Sh " toupper(substr($0, 4)); fresh = 1; next }
/^### / { end_list(); print ".Ss " plain(substr($0, 5)); fresh = 1; next }
/^\| ---/ || /^\| key / || /^\| metric / { next }
/^\| / {
    n = split(substr($0, 3), cell, / \| /)
    sub(/ \|$/, "", cell[n])
    if (!in_list)
        print ".Bl -tag -width Ds"
    in_list = 1
    print ".It Sy \"\\&" plain(cell[1]) "\""
    print plain(cell[n])
    if (cell[3] != "-")
        print plain("Takes " cell[2] "; " cell[3] ".")
    else
        print plain("Takes " cell[2] ".")
    next
}
/^$/ { end_list(); blank = 1; next }
{
    if (blank && !fresh)
        print ".Pp"
    blank = fresh = 0
    print plain($0)
}
END { end_list() }
