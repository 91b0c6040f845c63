#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Tests the installed tools and library; silent where all is well. Exit status: the number of failures.
#   run.sh [NAME...]   these tests alone: programs, or a file of tools/ without its ending
# From the environment: FEATURES (default ffmpeg,yaml): what the tools were built with.
set -u
here=$(cd "$(dirname "$0")" && pwd)
fixtures=${FIXTURES:-$here/fixtures}
tools=$(dirname "$(command -v mm-train)") || { echo "no mm-train in PATH" >&2; exit 1; }
features=${FEATURES-ffmpeg,yaml}
wanted=" $* "
failures=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export PYTHONDONTWRITEBYTECODE=1

# check NAME COMMAND...
check() {
    name=$1
    shift
    [ "$wanted" = "  " ] || case $wanted in *" $name "*) ;; *) return 0 ;; esac
    if "$@" >"$log" 2>&1; then
        echo "passed: $name"
    else
        failures=$((failures + 1))
        echo "FAILED: $name" >&2
        cat "$log" >&2
    fi
}

if pkg-config --exists motionmatcher 2>/dev/null; then
    check programs python3 "$here/programs.py" "$fixtures"
fi
for test in bad_input describe lora; do
    check $test python3 "$here/tools/$test.py" "$tools" "$fixtures"
done
for test in command_line features promises runs scores; do
    check $test python3 "$here/tools/$test.py" "$tools" "$fixtures" "$features"
done
exit $failures
