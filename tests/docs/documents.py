# SPDX-License-Identifier: BSD-2-Clause
"""What the documents hold, for the tests: fenced blocks of code, and links."""
import pathlib
import re
from dataclasses import dataclass, field

LANGUAGES = {"sh", "text", "c", "python", "json", "csv"}


@dataclass
class Block:
    """What follows the opening ``` is `info`: the language, and for sh how the block is meant:

        ```sh                      is run, and must end with 0
        ```sh exit 3               is run, and must end with 3
        ```sh not run: the reason  is counted

    A block of text right below one that is run must be in its output: each line in this order, with
    "…" for anything."""

    document: pathlib.Path
    line: int
    info: str
    lines: list = field(default_factory=list)
    output: list = field(default_factory=list)

    @property
    def language(self):
        return self.info.split(" ")[0]

    @property
    def reason(self):
        """Why it is not run; None when it is."""
        found = re.fullmatch(r"sh not run: (\S.*)", self.info)
        return found[1] if found else None

    @property
    def exit_status(self):
        found = re.fullmatch(r"sh(?: exit (\d+))?", self.info)
        if not found:
            raise ValueError(f"{self.place}: '{self.info}' is none of: sh, sh exit N, "
                             "sh not run: reason")
        return int(found[1] or 0)

    @property
    def place(self):
        return f"{self.document}:{self.line}"

    def is_shown(self, output):
        """Whether what it promises to print is in `output`."""
        lines = [line for line in self.output if line.strip()]
        wanted = [".*".join(map(re.escape, line.split("…"))) for line in lines]
        return re.search(r".*?\n.*?".join(wanted), output, re.S) is not None


def documents_of(source):
    """Their paths below the checkout's."""
    return [pathlib.Path("README.md"), pathlib.Path("CONTRIBUTING.md"),
            *(path.relative_to(source) for path in sorted((source / "docs").glob("*.md"))),
            *(pathlib.Path(folder, "README.md") for folder in
              ("models/demo", "bench/claims", "bindings/python"))]


def blocks_of(source, document):
    """The fenced blocks; indented ones are an error, since nobody would run them."""
    found, block, before = [], None, ""
    for number, line in enumerate((source / document).read_text(encoding="utf-8").split("\n"), 1):
        if line.startswith("```") and block is None:
            block = Block(document, number, line[3:])
        elif line == "```":
            found.append(block)
            block = None
        elif block is not None:
            block.lines.append(line)
        elif line.startswith("    ") and not before.strip():
            raise ValueError(f"{document}:{number}: an indented block; put it between ``` and say "
                             "what it is")
        before = line
    if block is not None:
        raise ValueError(f"{block.place}: the block has no end")
    _attach_outputs(source / document, found)
    return found


def _attach_outputs(path, blocks):
    lines = path.read_text(encoding="utf-8").split("\n")
    for first, second in zip(blocks, blocks[1:]):
        between = lines[first.line + len(first.lines) + 1:second.line - 1]
        if first.language == "sh" and second.info == "text" and not "".join(between).strip():
            first.output = second.lines


def inline_code_of(text):
    return re.findall(r"`([^`\n]+)`", re.sub(r"(?ms)^```.*?^```$", "", text))


def links_of(text):
    """Targets of links and pictures inside the project, as (path, anchor); either may be ""."""
    without_code = re.sub(r"(?ms)^```.*?^```$|`[^`\n]*`", "", text)
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code):
        if not re.match(r"[a-z]+:", target):
            path, _, anchor = target.partition("#")
            yield path, anchor


def anchors_of(text):
    """Of the headings, as GitHub and GitLab make them."""
    titles = re.findall(r"(?m)^#+ (.*)$", text)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
