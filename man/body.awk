# SPDX-License-Identifier: GPL-3.0-or-later
# A program's help to mdoc.
function plain(text) {
    gsub(/\\/, "\\e", text)
    gsub(/-/, "\\-", text)
    gsub(/[.] +/, ".\n", text)
    sub(/^[.']/, "\\\\\\&&", text)
    return text
}
function quoted(text) {
    text = plain(text)
    gsub(/"/, "\\(dq", text)
    return "\"\\&" text "\""
}
function end_list() {
    if (in_list)
        print ".El"
    in_list = 0
}
function paragraph() {
    if (after_text || ended)
        print ".Pp"
    ended = after_text = 0
}
/^$/ {
    if (in_list)
        ended = 1
    end_list()
    if (after_text)
        pending = 1
    next
}
/^  [^ ].*[^ ]  +[^ ]/ {
    if (!in_list)
        print ".Bl -tag -width Ds"
    in_list = 1
    pending = 0
    head = substr($0, 3)
    text = head
    sub(/  +.*/, "", head)
    sub(/^.*[^ ]  +/, "", text)
    rest = substr($0, 3 + length(head))
    sub(/^ +/, "", rest)
    print ".It Sy " quoted(head)
    print plain(rest)
    next
}
/^   / {
    sub(/^ +/, "")
    print plain($0)
    next
}
/^  [^ ]/ {
    if (!in_list)
        print ".Bl -tag -width Ds"
    in_list = 1
    print ".It Sy " quoted(substr($0, 3))
    next
}
{
    if (in_list)
        ended = 1
    end_list()
    if (pending || ended)
        print ".Pp"
    pending = ended = 0
    print plain($0)
    after_text = 1
}
END { end_list() }
