# SPDX-License-Identifier: BSD-2-Clause
"""Text for manual pages: roff's man macros from plain text and from the Markdown of docs/."""
import re


def escape(text):
    """Text as roff shows it: no line begins with a control character, no '-' becomes a hyphen."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("~", "\\(ti").replace("^", "\\(ha")
    return re.sub(r"(?m)^([.'])", r"\\&\1", text)


def title(name, section, version, book):
    return f'.TH {name.upper()} {section} "" "libmotionmatcher {version}" "{book}"\n'


def heading(text, level=1):
    return f".{'SH' if level == 1 else 'SS'} {escape(text.upper() if level == 1 else text)}\n"


def code(lines):
    """Lines as they are, in an indented block."""
    return ".PP\n.in +4n\n.nf\n" + "\n".join(map(escape, lines)) + "\n.fi\n.in\n"


def inline(text):
    """One paragraph of Markdown: `code` and **bold** in bold, links as their text."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    parts = re.split(r"(`[^`]+`|\*\*[^*]+\*\*)", text)
    return "".join(_piece(part) for part in parts)


def _piece(part):
    if part.startswith("`") or part.startswith("**"):
        marks = 1 if part.startswith("`") else 2
        return f"\\fB{escape(part[marks:-marks])}\\fR"
    return escape(part).removeprefix("\\&")


def paragraph(text):
    shown = inline(text)
    return "\\&" + shown if shown[:1] in (".", "'") else shown


def _cells(line):
    return [cell.strip().replace("\\|", "|")
            for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]


def _table(lines):
    """A tagged paragraph a row; columns beyond the second say what they are."""
    head = _cells(lines[0])
    text = heading(head[0], 2) if not head[1] else ""
    for line in lines[2:]:
        tag, *rest = _cells(line)
        said = [cell if i == 0 else f"{head[i + 1]}: {'yes' if cell == 'x' else cell}"
                for i, cell in enumerate(rest) if cell]
        text += f".TP\n{paragraph(tag)}\n{paragraph('; '.join(said))}\n"
    return text


def _blocks(markdown):
    """Lists of lines: a heading, a fenced or indented block, a table, an item, or a paragraph."""
    block, fenced = [], False
    for line in markdown.splitlines():
        fence = line.startswith("```")
        starts = not fenced and (line.startswith(("#", "- ")) or not line.strip())
        if block and (starts or (fence and not fenced)):
            yield block
            block = []
        fenced ^= fence
        if line.strip() or fenced:
            block.append(line)
        if block and not fenced and (fence or line.startswith("#")):
            yield block
            block = []
    if block:
        yield block


def markdown(text):
    """The body of a page; the document's own title is left out."""
    page = ""
    for block in _blocks(text):
        first = block[0]
        if first.startswith("#"):
            level = len(first) - len(first.lstrip("#"))
            page += heading(first.lstrip("# "), level - 1) if level > 1 else ""
        elif first.startswith("```"):
            page += code(block[1:-1])
        elif first.startswith("    "):
            page += code([line[4:] for line in block])
        elif first.startswith("|"):
            page += _table(block)
        elif first.startswith("- "):
            page += f".IP \\(bu 2\n{paragraph(' '.join(line.strip() for line in block)[2:])}\n"
        else:
            page += f".PP\n{paragraph(' '.join(line.strip() for line in block))}\n"
    return page
