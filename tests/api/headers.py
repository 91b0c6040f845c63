# SPDX-License-Identifier: BSD-2-Clause
"""The public headers: each compiles alone, as pedantic C99, C11, and C++17 where there is a compiler,
and at least 60 % of each is contract: of the lines that are not blank, those with a comment alone.

usage: headers.py INCLUDE_DIR CC [CXX]"""
import pathlib
import re
import subprocess
import sys

LEAST_CONTRACT = 0.6

include, c_compiler, *rest = sys.argv[1:]
modes = [(c_compiler.split(), "c", "c99"), (c_compiler.split(), "c", "c11")]
if rest:
    modes.append((rest[0].split(), "c++", "c++17"))
flags = ["-pedantic", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]


def line_count(text):
    return sum(bool(line.strip()) for line in text.splitlines())


def contract_share(text):
    code = re.sub(r"/\*.*?\*/", lambda comment: "\n" * comment[0].count("\n"), text, flags=re.S)
    return 1 - line_count(code) / line_count(text)


def compile_alone(header, compiler, language, standard):
    command = [*compiler, f"-std={standard}", *flags, "-I", include, "-x", language, "-"]
    text = f'#include "motionmatcher/{header.name}"\nextern int not_empty;\n'
    return subprocess.run(command, input=text, text=True, capture_output=True, check=False)


headers = sorted(pathlib.Path(include, "motionmatcher").glob("*.h"))
failures = 0
for header in headers:
    share = contract_share(header.read_text(encoding="utf-8"))
    if share < LEAST_CONTRACT:
        failures += 1
        print(f"{header.name}: {share:.1%} of its lines are contract, {LEAST_CONTRACT:.0%} are wanted")
    for mode in modes:
        done = compile_alone(header, *mode)
        if done.returncode != 0:
            failures += 1
            print(f"{header.name} as {mode[2]}:\n{done.stderr}")
print(f"{len(headers)} headers, {len(modes)} languages, {failures} failures")
sys.exit(1 if failures or not headers else 0)
