#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Unpacks Debian packages into an empty root, and there compiles programs, runs the tools and the quickstart.
#   unpacked.sh FOLDER   where the .deb files are
# QUICKSTART_STEPS: training steps of the quickstart (default 2).
set -eu
folder=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
root=$folder/root
rm -rf "$root"
mkdir -p "$root"
for package in "$folder"/*.deb; do
    case $package in *-dbgsym_*) continue ;; esac
    dpkg-deb -x "$package" "$root"
done
libraries=$(dirname "$(find "$root/usr/lib" -name 'libmotionmatcher.so.0')")
export LD_LIBRARY_PATH="$libraries" PATH="$root/usr/bin:$PATH"

echo "== programs"
PKG_CONFIG_SYSROOT_DIR=$root PKG_CONFIG_PATH=$libraries/pkgconfig \
    python3 "$here/../installed/programs.py" "$here/../fixtures"

echo "== tools"
for tool in mm-train mm-infer mm-eval mm-lora; do
    [ "$(command -v $tool)" = "$root/usr/bin/$tool" ]
    $tool --version
done

echo "== Python"
PYTHONPATH=$root/usr/lib/python3/dist-packages PYTHONDONTWRITEBYTECODE=1 python3 -c "
import motionmatcher as mm
assert mm.__file__.startswith('$root'), mm.__file__
model = mm.Model(mm.Context(threads=1), '$here/../fixtures/quickstart-model')
print('motionmatcher', mm.version(), model.directory)"

echo "== quickstart"
mkdir -p "$folder/home"
(cd "$folder/home" && MM_QUICKSTART_STEPS=${QUICKSTART_STEPS:-2} MM_QUICKSTART_SAMPLING_STEPS=2 \
    sh "$root/usr/share/motionmatcher/examples/quickstart.sh")
[ -f "$folder/home/quickstart-output/contact-sheet.png" ]
echo "packages are good"
