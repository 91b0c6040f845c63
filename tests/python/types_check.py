# SPDX-License-Identifier: BSD-2-Clause
"""Checks the package's types with mypy --strict, and that programs are checked against them; skipped
without mypy.

usage: types_check.py PACKAGE_DIR [PROGRAM...]"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

package, *programs = sys.argv[1:]
SKIPPED = 77
mypy = shutil.which("mypy") or "/usr/bin/mypy"
if not os.path.exists(mypy):
    print("skipped: mypy is not installed")
    sys.exit(SKIPPED)

WRONG = """
import motionmatcher as mm

with mm.Context(threads=1) as context:
    model = mm.Model(context, 3)
    loss: str = mm.Trainer(model, steps=[object()]).lora().rank
"""


def check(*paths):
    return subprocess.run(
        [mypy, "--strict", "--ignore-missing-imports", "--no-incremental", "--cache-dir",
         os.devnull, *paths],
        env={**os.environ, "MYPYPATH": package}, text=True, capture_output=True, check=False,
    )  # fmt: skip


done = check(os.path.join(package, "motionmatcher"), *programs)
if done.returncode:
    sys.exit(done.stdout + done.stderr)
print(done.stdout, end="")
with tempfile.TemporaryDirectory() as folder:
    program = pathlib.Path(folder, "program.py")
    program.write_text(WRONG, encoding="utf-8")
    done = check(str(program))
lines = [line for line in done.stdout.splitlines() if "error:" in line]
assert [int(line.split(":")[1]) for line in lines] == [5, 6, 6], done.stdout
