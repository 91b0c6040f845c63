# SPDX-License-Identifier: BSD-2-Clause
"""Checks that folders of the library include only what stands below them, that each outside library
is seen by one place alone, and that no text of the library spells an option as a command line does.

usage: layers.py SOURCE_ROOT"""
import pathlib
import re
import sys

ORDER = ["api", "motion", "training", "sampling", "metrics", "models", "backends", "graph",
         "weights", "text", "media", "base"]
# An outside header, and the places that may include it.
OUTSIDE = [
    (r"(oneapi/dnnl/)?dnnl.*\.h", ["backends/cpu/"]),
    (r"lib(av|sw)[a-z]+/.*", ["media/"]),
    (r"(cjson/)?cJSON\.h", ["base/json.c"]),
    (r"yaml\.h", ["api/config_yaml.c"]),
    (r"zlib\.h", ["weights/"]),
    (r"uni(case|norm|str|ctype|conv|type)\.h", ["text/"]),
    (r"omp\.h", ["backends/cpu/"]),
]
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.MULTILINE)
STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"')
OPTION = re.compile(r"^MM_OPTION\w*\(\w+, *(\w+)", re.MULTILINE)


def inner_problem(folder, header):
    """What is wrong with `header` in a file of `folder`; None when nothing is."""
    top = header.split("/")[0]
    if top == "motionmatcher":
        return None
    if "/" not in header or top not in ORDER:
        return None
    return None if ORDER.index(top) >= ORDER.index(folder) else f"{top} stands above {folder}"


def outside_problem(place, header):
    for pattern, homes in OUTSIDE:
        if re.fullmatch(pattern, header) and not any(place.startswith(home) for home in homes):
            return "belongs to " + ", ".join(homes) + " alone"
    return None


def flag_pattern(library):
    """--name of anything, and the names of options with - for _."""
    names = {name for path in library.rglob("*.def")
             for name in OPTION.findall(path.read_text(encoding="utf-8"))}
    dashed = sorted(name.replace("_", "-") for name in names if "_" in name)
    return re.compile(r"--[a-z]|(?<![\w-])(" + "|".join(dashed) + r")(?![\w-])")


def main(root):
    library = root / "libmotionmatcher"
    problems, includes, flag = [], 0, flag_pattern(library)
    for path in sorted(library.rglob("*.[ch]")):
        place = path.relative_to(library).as_posix()
        code = path.read_text(encoding="utf-8")
        problems += [f"{place} spells a flag: {text}" for text in STRING.findall(code)
                     if flag.search(text)]
        for header in INCLUDE.findall(code):
            includes += 1
            problem = inner_problem(place.split("/")[0], header) or outside_problem(place, header)
            if problem:
                problems.append(f"{place} includes {header}: {problem}")
    for path in sorted((root / "tools").rglob("*.[ch]")):
        for header in INCLUDE.findall(path.read_text(encoding="utf-8")):
            if header.split("/")[0] in ORDER and not header.startswith("motionmatcher/"):
                problems.append(f"{path.relative_to(root)} includes {header}: not public")
    print("\n".join(problems + [f"{includes} includes, {len(problems)} problems"]))
    return 1 if problems or includes < 100 else 0


sys.exit(main(pathlib.Path(sys.argv[1])))
