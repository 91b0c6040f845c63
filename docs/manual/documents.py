# SPDX-License-Identifier: BSD-2-Clause
"""A manual page from a Markdown document.

usage: documents.py NAME SECTION VERSION SUMMARY SEE_ALSO OUT DOCUMENT...

SEE_ALSO: names like "mm-train(1)", separated by blanks. Several documents follow one another."""
import pathlib
import sys

import roff

BOOKS = {"3": "Library Functions", "5": "File Formats", "7": "Miscellaneous"}


def main(name, section, version, summary, see_also, out, *documents):
    page = roff.title(name, section, version, BOOKS[section])
    page += f".SH NAME\n{roff.escape(name)} \\- {roff.escape(summary)}\n.SH DESCRIPTION\n"
    for document in documents:
        page += roff.markdown(pathlib.Path(document).read_text(encoding="utf-8"))
    page += ".SH SEE ALSO\n" + ",\n".join(map(roff.escape, see_also.split())) + "\n"
    pathlib.Path(out).write_text(page, encoding="utf-8")


main(*sys.argv[1:])
