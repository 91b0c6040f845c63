# SPDX-License-Identifier: BSD-2-Clause
"""Compiles every public header alone: pedantic C99, C11, and C++17 where there is a compiler.

usage: headers.py INCLUDE_DIR CC [CXX]"""
import pathlib
import subprocess
import sys

include, c_compiler, *rest = sys.argv[1:]
modes = [(c_compiler.split(), "c", "c99"), (c_compiler.split(), "c", "c11")]
if rest:
    modes.append((rest[0].split(), "c++", "c++17"))
flags = ["-pedantic", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
headers = sorted(pathlib.Path(include, "motionmatcher").glob("*.h"))
failures = 0
for header in headers:
    for compiler, language, standard in modes:
        command = [*compiler, f"-std={standard}", *flags, "-I", include, "-x", language, "-"]
        text = f'#include "motionmatcher/{header.name}"\nextern int not_empty;\n'
        done = subprocess.run(command, input=text, text=True, capture_output=True)
        if done.returncode != 0:
            failures += 1
            print(f"{header.name} as {standard}:\n{done.stderr}")
print(f"{len(headers)} headers, {len(modes)} languages, {failures} failures")
sys.exit(1 if failures or not headers else 0)
