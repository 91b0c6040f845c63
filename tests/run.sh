#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Builds with gcc and clang and runs every test. Last line: "N passed, N failed".
# Build directories: build-tests-* beside this one (BUILD_PREFIX changes that). JOBS: parallel jobs.
set -u
cd "$(dirname "$0")/.." || exit 1
prefix=${BUILD_PREFIX:-build-tests}
jobs=${JOBS:-$(nproc)}
passed=0
failed=0

# Only what is missing is asked for, so that this also runs without a network.
install_missing() {
    packages=
    for package in meson ninja-build gcc pkg-config libdnnl-dev libavformat-dev libavcodec-dev \
        libavutil-dev libswscale-dev libavfilter-dev libcjson-dev libyaml-dev zlib1g-dev \
        libcmocka-dev libunistring-dev ffmpeg locales python3 python3-numpy python3-pip \
        python3-tqdm mypy python3-matplotlib g++ abigail-tools doxygen groff; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q ' installed' ||
            packages="$packages $package"
    done
    [ -n "$packages" ] || return 0
    if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
        echo "not installed, and this is not root on Debian:$packages"
        return 0
    fi
    apt-get update -q && DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends $packages
}

# One check: a name, then its command.
check() {
    name=$1
    shift
    echo "== $name"
    if "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $name"
    fi
}

# Counts every meson test of a build on its own.
count_tests() {
    directory=$1
    shift
    echo "== tests in $directory"
    meson test -C "$directory" --no-rebuild --print-errorlogs "$@"
    log=$directory/meson-logs/testlog.json
    [ -f "$log" ] || { failed=$((failed + 1)); return; }
    good=$(grep -cE '"result": "(OK|EXPECTEDFAIL)"' "$log")
    skipped=$(grep -c '"result": "SKIP"' "$log")
    all=$(grep -c '"result": ' "$log")
    passed=$((passed + good))
    failed=$((failed + all - good - skipped))
    [ "$skipped" -eq 0 ] || echo "$skipped skipped in $directory"
}

# build DIRECTORY CC [meson options]
build() {
    directory=$1
    compiler=$2
    shift 2
    if [ ! -f "$directory/build.ninja" ]; then
        CC=$compiler meson setup "$directory" -Dwerror=true "$@" >"$directory.log" 2>&1 ||
            { cat "$directory.log"; return 1; }
    fi
    ninja -C "$directory" -j "$jobs" >"$directory.log" 2>&1 || { tail -60 "$directory.log"; return 1; }
}

format() {
    git ls-files '*.c' '*.h' | xargs clang-format-14 --dry-run -Werror
}

install_missing

check "builds with gcc without a warning" build "$prefix-gcc" gcc \
    -Ddebug=true -Ddefault_library=both # for the tests of the ABI and of what is installed
[ -x "$prefix-gcc/tools/mm-train" ] && count_tests "$prefix-gcc"

if command -v clang >/dev/null; then
    check "builds with clang without a warning" build "$prefix-clang" clang -Dbuildtype=debug
fi

# Address and undefined-behaviour sanitizers.
check "builds with sanitizers" build "$prefix-san" gcc -Dbuildtype=debugoptimized \
    -Db_sanitize=address,undefined -Db_lundef=false
[ -x "$prefix-san/tools/mm-train" ] && count_tests "$prefix-san" --timeout-multiplier 4

if command -v clang-format-14 >/dev/null && git rev-parse --git-dir >/dev/null 2>&1; then
    check "source is formatted" format
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
