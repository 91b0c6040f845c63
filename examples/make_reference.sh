#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Make reference.mp4 beside this script: 16 frames of a circle going round. Needs ffmpeg.
set -e
out=${1:-$(dirname "$0")/reference.mp4}
inside="clip(10.5-hypot(X-31.5-17*cos(2*PI*N/16),Y-31.5-17*sin(2*PI*N/16)),0,1)"
ffmpeg -y -v error -f lavfi -i "color=c=black:s=64x64:r=8:d=2" \
  -vf "format=rgb24,geq=r='60+170*$inside':g='90-40*$inside':b='120-80*$inside',format=yuv420p" \
  -frames:v 16 -c:v libx264 -crf 18 -preset veryslow -threads 1 \
  -fflags +bitexact -flags:v +bitexact -map_metadata -1 "$out"
