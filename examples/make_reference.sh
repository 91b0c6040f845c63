#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Make reference.mp4 beside this script: a red circle goes round on a gray background, drawn by the demo
# model's generator from a seed that it was not trained on. Needs ffmpeg and python3-numpy.
set -eu
here=$(dirname -- "$0")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/python3 "$here/../models/demo/clips.py" --seed 2000054 --shape circle --colour red \
    --background gray --motion circle --camera-motion fixed --size constant --output "$folder"
mv "$folder/clip-2000054.mp4" "${1:-$here/reference.mp4}"
