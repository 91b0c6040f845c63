# SPDX-License-Identifier: BSD-2-Clause
"""Compares the ABI of the shared library with the checked-in one: nothing that a program was built
against may change or go. What came anew is no failure, but is to be added to the baseline.

usage: check.py LIBRARY INCLUDE_DIR BASELINE [--renew]

The library needs debug information; without it nothing is compared (exit status 77). --renew writes
the baseline."""
import pathlib
import subprocess
import sys
import tempfile

ABIDW = ["abidw", "--drop-private-types", "--no-architecture", "--no-corpus-path",
         "--no-comp-dir-path", "--no-show-locs", "--no-elf-needed", "--exported-interfaces-only"]


def has_debug_information(library):
    sections = subprocess.run(["readelf", "-S", "-W", library], check=True, text=True,
                              capture_output=True).stdout
    return ".debug_info" in sections


def write_abi(library, include, path):
    subprocess.run([*ABIDW, "--headers-dir", include, "--out-file", path, library], check=True)


def compare(library, include, baseline):
    """0: the same, or more than before; 1: a program may break."""
    with tempfile.TemporaryDirectory() as directory:
        present = pathlib.Path(directory) / "present.abi"
        write_abi(library, include, present)
        done = subprocess.run(["abidiff", "--no-architecture", "--no-added-syms", baseline, present],
                              text=True, capture_output=True, check=False)
    print(done.stdout + done.stderr, end="")
    if done.returncode == 0:
        return 0
    print("A program that was built with the baseline may break: see docs/api-stability.md.")
    return 1


def main(library, include, baseline, *rest):
    if not has_debug_information(library):
        print("the library has no debug information: meson configure -Ddebug=true")
        return 77
    if rest == ("--renew",):
        write_abi(library, include, baseline)
        return 0
    return compare(library, include, baseline)


sys.exit(main(*sys.argv[1:]))
