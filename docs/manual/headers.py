# SPDX-License-Identifier: BSD-2-Clause
"""Manual pages of section 3 from the public headers: a page for each header, which is what its
comments say, and for each function a page that leads there.

usage: headers.py names HEADER              prints the pages' names
       headers.py pages VERSION OUT_DIR HEADER
       headers.py overview VERSION OUT INTRODUCTION HEADER...   the library's own page"""
import pathlib
import re
import sys

import roff

BOOK = "Library Functions"
COMMENT = re.compile(r"/\*\*(?!<)(.*?)\*/", re.S)


def plain(comment):
    """A comment's text without its stars."""
    lines = [re.sub(r"^\s*\* ?", "", line) for line in comment.strip().splitlines()]
    return "\n".join(line.rstrip() for line in lines).strip()


def declaration_at(text, start):
    """The declaration, or the run of #define lines, that begins at `start`."""
    if text.startswith("#define", start):
        end = start
        while text.startswith("#define", end) or text.startswith("   ", end):
            end = text.index("\n", end) + 1
        return text[start:end].rstrip()
    depth = 0
    for i in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[i], 0)
        if text[i] == ";" and depth == 0:
            return text[start:i + 1]
    return ""


class Header:
    def __init__(self, path):
        self.path = pathlib.Path(path)
        text = self.path.read_text(encoding="utf-8")
        about = next(m for m in COMMENT.finditer(text) if "@file" in m[1])
        self.about = re.sub(r"@file\s+\S+\s*", "", plain(about[1]))
        self.page = "mm_" + self.path.stem
        self.parts = list(self._parts(text, about.end()))
        self.functions = [name for _, declaration in self.parts for name in [function(declaration)]
                          if name]

    def _parts(self, text, position):
        """(comment, declaration) in order; the comment is "" where a declaration has none."""
        comment = ""
        token = re.compile(r"/\*\*(?!<).*?\*/|^(?:MM_API|typedef|struct|#define MM_)", re.S | re.M)
        guard = f"#define MOTIONMATCHER_{self.path.stem.upper()}_H"
        while found := token.search(text, position):
            if found[0].startswith("/**"):
                comment, position = plain(found[0][3:-2]), found.end()
                continue
            declaration = declaration_at(text, found.start())
            position = found.start() + len(declaration)
            if not declaration.startswith(guard):
                yield comment, declaration.replace("MM_API ", "")
            comment = ""

    @property
    def summary(self):
        first = re.split(r"[.:](?:\s|$)", " ".join(self.about.split()), maxsplit=1)[0]
        return first if first[1:2].isupper() else first[:1].lower() + first[1:]


def function(declaration):
    """Its name, when it declares a function."""
    if declaration.startswith(("typedef", "struct", "#")):
        return None
    return re.search(r"(mm_\w+)\(", declaration)[1]


def prose(comment):
    """Paragraphs, lists, parameters and the result, of a comment's text."""
    page = ""
    text = re.sub(r"\s@return", "\n@return", comment)
    for block in re.split(r"\n\s*\n|\n(?=@|- )|^(?=@)", text):
        words = " ".join(block.split())
        if words.startswith("@param"):
            _, name, *rest = words.split(" ", 2)
            page += f".TP\n.I {roff.escape(name)}\n{roff.paragraph(' '.join(rest))}\n"
        elif words.startswith("@return"):
            page += f".PP\nReturns {roff.inline(words.removeprefix('@return').strip())}\n"
        elif words.startswith("- "):
            page += f".IP \\(bu 2\n{roff.paragraph(words[2:])}\n"
        elif words:
            page += f".PP\n{roff.paragraph(words)}\n"
    return page


def head(name, version, names, summary):
    return (roff.title(name, "3", version, BOOK) +
            f".SH NAME\n{', '.join(map(roff.escape, names))} \\- {roff.escape(summary)}\n")


def header_page(header, version):
    names = [header.page] + [name for name in header.functions if name != header.page]
    page = head(header.page, version, names, header.summary)
    page += f".SH SYNOPSIS\n.B #include <motionmatcher/{header.path.name}>\n"
    types = [part for part in header.parts if not function(part[1])]
    functions = [part for part in header.parts if function(part[1])]
    page += roff.code("\n".join(declaration for _, declaration in functions).splitlines())
    page += ".PP\nCompile and link with\n" \
            ".B $(pkg\\-config \\-\\-cflags \\-\\-libs motionmatcher)\n"
    page += ".SH DESCRIPTION\n" + prose(header.about)
    for section, parts in (("TYPES AND CONSTANTS", types), ("FUNCTIONS", functions)):
        page += roff.heading(section) if parts else ""
        for comment, declaration in parts:
            name = function(declaration)
            page += roff.heading(f"{name}()", 2) if name else ""
            page += roff.code(declaration.splitlines()) + prose(comment)
    return page + ".SH SEE ALSO\n.BR libmotionmatcher (3)\n"


def main(task, *arguments):
    if task == "names":
        header = Header(arguments[0])
        print("\n".join(dict.fromkeys([header.page, *header.functions])))
        return
    if task == "pages":
        version, directory, path = arguments
        header, directory = Header(path), pathlib.Path(directory)
        for name in header.functions:
            (directory / f"{name}.3").write_text(f".so man3/{header.page}.3\n")
        (directory / f"{header.page}.3").write_text(
            header_page(header, version), encoding="utf-8")
        return
    version, out, introduction, *paths = arguments
    headers = [Header(path) for path in paths]
    page = head("libmotionmatcher", version, ["libmotionmatcher"],
                "motion customization of text-to-video diffusion models")
    page += ".SH DESCRIPTION\n"
    page += roff.markdown(pathlib.Path(introduction).read_text(encoding="utf-8"))
    page += ".SH HEADERS\n" + "".join(
        f".TP\n.BR {header.page} (3)\n{roff.escape(header.summary)}\n" for header in headers)
    page += ".SH SEE ALSO\n.BR mm\\-train (1),\n.BR motionmatcher\\-options (5),\n" \
            ".BR motionmatcher\\-files (5)\n"
    pathlib.Path(out).write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
