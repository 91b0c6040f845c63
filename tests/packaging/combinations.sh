#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Builds with each optional part left out, with all of them out, and as static and as both libraries; in
# each build runs the tests of options, tools and installation. Takes long, so it is no part of run.sh.
#   combinations.sh [NAME...]   the builds of these names alone
# From the environment: WORK (default: a new folder in TMPDIR), JOBS, CC.
set -eu
cd "$(dirname "$0")/../.."
work=${WORK:-$(mktemp -d)}
jobs=${JOBS:-$(nproc)}
wanted=" $* "

# combination NAME WORDS-OF-ITS-SUMMARY OPTIONS...
combination() {
    name=$1 says=$2
    shift 2
    [ "$wanted" = "  " ] || case $wanted in *" $name "*) ;; *) return 0 ;; esac
    echo "== $name: $*"
    meson setup "$work/$name" -Dwerror=true -Doptimization=0 "$@" >"$work/$name.log" 2>&1 ||
        { tail -30 "$work/$name.log"; exit 1; }
    grep -Eq "$says" "$work/$name.log" || { echo "the summary does not say: $says"; exit 1; }
    meson test -C "$work/$name" --num-processes "$jobs" --timeout-multiplier 8 "api options" \
        "api config_files" "tools command_line" "tools describe" "manual pages" "installed tree" \
        >"$work/$name.log" 2>&1 || { tail -60 "$work/$name.log"; exit 1; }
    "$work/$name/tools/mm-train" --version
}

combination no-openmp 'OpenMP threads *: NO' -Dopenmp=disabled
combination no-yaml 'YAML configs *: NO' -Dyaml=disabled
combination no-ffmpeg 'video files \(FFmpeg\) *: NO' -Dffmpeg=disabled
combination no-tracker 'point tracker *: NO' -Dtracker=false
combination nothing 'demo model, installed *: NO' -Dopenmp=disabled -Dyaml=disabled -Dffmpeg=disabled \
    -Dtracker=false -Ddemo_model=false
combination static 'YAML configs *: YES' -Ddefault_library=static
combination both 'YAML configs *: YES' -Ddefault_library=both
echo "all built, in $work"
