# SPDX-License-Identifier: BSD-2-Clause
"""Installs the package with pip, without a network, and uses it from there; skipped without pip.

usage: package.py PACKAGE_DIR"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

package = pathlib.Path(sys.argv[1])
SKIPPED = 77


def run(*command, **more):
    return subprocess.run(
        [str(word) for word in command], text=True, capture_output=True, check=False, **more
    )


def pip():
    """This Python's pip, or Debian's."""
    for python in (sys.executable, "/usr/bin/python3"):
        if os.path.exists(python) and run(python, "-m", "pip", "--version").returncode == 0:
            return python
    print("skipped: pip is not installed")
    sys.exit(SKIPPED)


python = pip()
with tempfile.TemporaryDirectory() as folder:
    target = pathlib.Path(folder, "site")
    done = run(python, "-m", "pip", "install", "--no-index", "--no-cache-dir",
               "--disable-pip-version-check", "--target", target, package)  # fmt: skip
    if done.returncode:
        sys.exit(f"pip install: {done.returncode}\n{done.stdout}{done.stderr}")
    installed = {path.name for path in (target / "motionmatcher").iterdir() if path.is_file()}
    wanted = {path.name for path in (package / "motionmatcher").iterdir() if path.is_file()}
    assert installed == wanted, installed ^ wanted
    environment = dict(os.environ, PYTHONPATH=str(target))
    code = "import motionmatcher; print(motionmatcher.__file__, motionmatcher.version())"
    done = run(python, "-c", code, env=environment, cwd=folder)
    assert done.returncode == 0, done.stderr
    place, version = done.stdout.split()
    assert place.startswith(str(target)), place
    done = run(python, "-m", "pip", "show", "motionmatcher", env=environment, cwd=folder)
    assert f"Version: {version}" in done.stdout, done.stdout + done.stderr
text = (package / "pyproject.toml").read_text(encoding="utf-8")
assert re.search(r'^version = "(.*)"$', text, re.M).group(1) == version
print("installed, imported, version", version)
