#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Builds the checkout's committed state twice, in folders of different names and depth, at different times and
# under different locales, installs both, and compares every byte.
#   reproducible.sh [MESON OPTIONS]
# From the environment: WORK (default: a new folder in TMPDIR), JOBS.
set -eu
cd "$(dirname "$0")/../.."
work=${WORK:-$(mktemp -d)}
jobs=${JOBS:-$(nproc)}
export CCACHE_DISABLE=1

# build FOLDER BUILD_NAME DESTINATION OPTIONS...
build() {
    folder=$1 name=$2 destination=$3
    shift 3
    mkdir -p "$folder"
    git archive HEAD | tar -x -C "$folder"
    meson setup "$folder/$name" "$folder" -Dtests=false -Ddefault_library=both --prefix=/usr "$@" \
        >"$folder.log" 2>&1 || { tail -30 "$folder.log"; exit 1; }
    ninja -C "$folder/$name" -j "$jobs" >"$folder.log" 2>&1 || { tail -30 "$folder.log"; exit 1; }
    DESTDIR=$destination meson install -C "$folder/$name" --no-rebuild >/dev/null
}

build "$work/first" build "$work/installed-1" "$@"
(
    export LC_ALL=C TZ=Pacific/Kiritimati HOME=/nonexistent
    umask 027
    build "$work/second/in another folder" build "$work/installed-2" "$@"
)
if diff -r "$work/installed-1" "$work/installed-2"; then
    echo "$(find "$work/installed-1" -type f | wc -l) files, all equal"
else
    echo "the two builds differ: $work/installed-1 $work/installed-2" >&2
    exit 1
fi
