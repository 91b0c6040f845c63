#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Builds the Debian packages from the committed state without a network where that can be had, asks lintian,
# unpacks them into an empty root, and there compiles programs, runs the tools and the quickstart.
#   debian.sh [dpkg-buildpackage OPTIONS]
# From the environment: WORK (default: a new folder in TMPDIR), DEB_BUILD_OPTIONS.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
work=${WORK:-$(mktemp -d)}
tree=$work/libmotionmatcher-0.1.0
mkdir -p "$tree"
git archive HEAD | tar -x -C "$tree"

# A network namespace of its own has no network.
alone=
if unshare -rn true 2>/dev/null; then alone="unshare -rn"; fi

echo "== packages"
(cd "$tree" && $alone dpkg-buildpackage -us -uc -b "$@") >"$work/build.log" 2>&1 ||
    { tail -60 "$work/build.log"; exit 1; }
ls -l "$work"/*.deb

echo "== lintian"
lintian --fail-on error "$work"/*.changes

sh "$here/unpacked.sh" "$work"
