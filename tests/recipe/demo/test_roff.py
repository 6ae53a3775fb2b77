"""Manual pages become text: headings, paragraphs, tags, what is literal; macros leave no trace."""

from __future__ import annotations

from pocketlm.recipe.demo.roff import plain, text_of

MAN = r""".\" a comment
.TH LS "1" "September 2022"
.ie \n(.g .ds Aq \(aq
.if n \{\
.sp
skipped
.\}
.SH NAME
ls \- list directory contents
.SH "RETURN VALUE"
List information about the
.BR FILE (1)
files.
.PP
Second\-rate \fIwords\fR here.
.TP
\fB\-a\fR, \fB\-\-all\fR
do not ignore entries
.IP \(bu 2
a point
.nf
int main(void);
    return;
.fi
.de XX
never seen
..
The end.
"""
MDOC = r""".Dd May 1, 2020
.Sh NAME
.Nm cat
.Nd print files
.Sh SYNOPSIS
.Nm
.Op Fl n Ar number
.Op Ar
.Sh DESCRIPTION
The
.Nm
utility reads files; see
.Xr tac 1 .
.Bl -tag
.It Fl b
Number the lines
.Pq but not empty ones .
.El
"""


def test_man() -> None:
    assert text_of(MAN).split("\n\n") == [
        "NAME",
        "ls - list directory contents",
        "RETURN VALUE",
        "List information about the FILE(1) files.",
        "Second-rate words here.",
        "-a, --all: do not ignore entries",
        "* a point",
        "int main(void);\n    return;",
        "The end.",
    ]


def test_mdoc() -> None:
    assert text_of(MDOC).split("\n\n") == [
        "NAME",
        "cat - print files",
        "SYNOPSIS",
        "cat [-n number] []",
        "DESCRIPTION",
        "The cat utility reads files; see tac(1).",
        "-b: Number the lines (but not empty ones).",
    ]


def test_escapes() -> None:
    assert plain(r"\fBbold\fR \(lqquoted\(rq \[u00E9]\['e] a\ b \e \s-1small\s0\&.") == (
        'bold "quoted" éé a b \\ small.'
    )
