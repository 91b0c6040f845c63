#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Writes motionmatcher/_prototypes.py from the C headers: constants, structures, callbacks, functions.

usage: generate.py INCLUDE_DIR [--check]

With --check nothing is written: the exit status says whether the file is what the headers make."""
import pathlib
import re
import sys

HEAD = '''# SPDX-License-Identifier: BSD-2-Clause
"""What the C headers declare. Made by generate.py; not to be edited."""
from ctypes import (
    IMPORTS,
)
from typing import Any, Dict, List, Tuple
'''
VALUES = {
    "int32_t": "c_int32", "uint32_t": "c_uint32", "int64_t": "c_int64", "uint64_t": "c_uint64",
    "uint8_t": "c_uint8", "size_t": "c_size_t", "double": "c_double", "mm_status": "c_int32",
}  # fmt: skip


class Headers:
    def __init__(self, folder):
        paths = sorted(pathlib.Path(folder, "motionmatcher").glob("*.h"))
        if not paths:
            raise SystemExit(f"{folder}: no headers in motionmatcher/")
        text = "\n".join(path.read_text(encoding="utf-8") for path in paths)
        self.text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
        self.code = re.sub(r"^[ \t]*#.*$", "", self.text, flags=re.M)
        self.structs = dict(re.findall(r"typedef struct (\w+) \{(.*?)\} \1;", self.text, re.S))
        self.callbacks = re.findall(r"typedef (\w+) \(\*(\w+)\)\((.*?)\);", self.text, re.S)

    def callback_names(self):
        return [name for _, name, _ in self.callbacks]

    def python_type(self, text):
        """The ctypes name of a C type without a name, such as "const mm_model *"."""
        words = [word for word in re.findall(r"\w+|\*", text) if word not in ("const", "struct")]
        base, stars = words[0], words.count("*")
        if base == "char" and stars == 1:
            return "c_char_p"
        if base == "char":
            # What the caller has to free must not be turned into bytes on the way.
            return "POINTER(c_char_p)" if text.startswith("const") else "POINTER(c_void_p)"
        if base in VALUES:
            return "POINTER(" * stars + VALUES[base] + ")" * stars
        if base in self.callback_names():
            return class_name(base)
        if base in self.structs:
            return f"POINTER({class_name(base)})"
        if base == "void" and stars == 0:
            return "None"
        return "POINTER(" * (stars - 1) + "c_void_p" + ")" * (stars - 1)

    def parameter_types(self, text):
        if text.strip() == "void":
            return []
        types = []
        for parameter in text.split(","):
            parameter = parameter.strip()
            array = parameter.endswith("]")
            declared = re.sub(r"\w+(\[\d*\])?$", "", parameter).strip()
            types.append(self.python_type(declared + (" *" if array else "")))
        return types

    def fields(self, body):
        for declaration in filter(None, (part.strip() for part in body.split(";"))):
            first, *more = declaration.split(",")
            kind, name, size = re.fullmatch(
                r"(.*?)(\w+)(?:\[(\d+)\])?", first.strip(), re.S
            ).groups()
            text = "c_char" if size else self.python_type(" ".join(kind.split()))
            for field in [name] + [word.strip() for word in more]:
                yield field, f"{text} * {size}" if size else text

    def functions(self):
        for text in re.findall(r"\bMM_API\s+([^;]+);", self.code):
            text = " ".join(text.split())
            kind, name, parameters = re.fullmatch(r"(.*?)(mm_\w+)\((.*)\)", text).groups()
            yield name, self.python_type(kind.strip()), self.parameter_types(parameters)

    def constants(self):
        return re.findall(r"#define MM_(\w+) \(?(-?\d+|\"[^\"]*\")\)?\s", self.text)


def class_name(c_name):
    return "".join(word.capitalize() for word in c_name.removeprefix("mm_").split("_"))


def listed(head, items, tail):
    """On one line where it fits into 100 columns."""
    line = head + ", ".join(items) + tail
    if len(line) <= 100:
        return line
    indent = " " * (len(head) - len(head.lstrip()))
    return head + "\n" + "".join(f"{indent}    {item},\n" for item in items) + indent + tail


def generate(headers):
    out = [HEAD]
    out += [f"{name} = {value}" for name, value in headers.constants()] + ["", ""]
    for name, body in headers.structs.items():
        out += [f"class {class_name(name)}(Structure):", "    _fields_ = ["]
        out += [f'        ("{field}", {kind}),' for field, kind in headers.fields(body)]
        out += ["    ]", "", ""]
    for kind, name, parameters in headers.callbacks:
        types = [headers.python_type(kind)] + headers.parameter_types(parameters)
        out.append(f"{class_name(name)} = CFUNCTYPE({', '.join(types)})")
    out += ["", "FUNCTIONS: Dict[str, Tuple[Any, List[Any]]] = {"]
    for name, kind, parameters in sorted(headers.functions()):
        out.append(listed(f'    "{name}": ({kind}, [', parameters, "]),"))
    body = "\n".join(out[1:] + ["}", ""])
    names = set(re.findall(r"\b(c_\w+|CFUNCTYPE|POINTER|Structure)\b", body))
    imports = ",\n    ".join(sorted(names, key=lambda name: (name.islower(), name)))
    return HEAD.replace("IMPORTS", imports) + "\n" + body


def main():
    target = pathlib.Path(__file__).parent / "motionmatcher" / "_prototypes.py"
    made = generate(Headers(sys.argv[1]))
    if sys.argv[2:] != ["--check"]:
        target.write_text(made, encoding="utf-8")
        return
    have = target.read_text(encoding="utf-8")
    if made != have:
        different = set(made.split("\n")) ^ set(have.split("\n"))
        print("not what the headers make; run bindings/python/generate.py include:", *different,
              sep="\n")  # fmt: skip
        sys.exit(1)


main()
