# SPDX-License-Identifier: BSD-2-Clause
"""Compares what the shared library exports with the checked-in list.

usage: symbols.py LIBRARY SYMBOLS.TXT"""
import subprocess
import sys

library, listing = sys.argv[1:]
lines = subprocess.run(["nm", "-D", "--defined-only", library], check=True, text=True,
                       capture_output=True).stdout.split("\n")
exported = {line.split()[2].split("@")[0] for line in lines
            if len(line.split()) == 3 and line.split()[1] != "A"}
with open(listing, encoding="utf-8") as file:
    listed = {line.strip() for line in file if line.strip() and not line.startswith("#")}
for name in sorted(listed - exported):
    print(f"listed but not exported: {name}")
for name in sorted(exported - listed):
    print(f"exported but not listed in {listing}: {name}")
sys.exit(exported != listed)
