# SPDX-License-Identifier: BSD-2-Clause
"""What the tests of mm-eval share."""
import json
import pathlib
import subprocess
import sys

TOOLS = pathlib.Path(sys.argv[1]).resolve()


def run(command, *arguments, code=0):
    """Output that is not UTF-8 is for tests to find, not to stumble over."""
    done = subprocess.run([str(TOOLS / "mm-eval"), command, *map(str, arguments)],
                          capture_output=True, encoding="utf-8", errors="replace",
                          timeout=120, check=False)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done


def events(done, kind=None):
    found = map(json.loads, done.stdout.splitlines())
    return [event for event in found if kind in (None, event["event"])]
