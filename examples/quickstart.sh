#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Installs what is missing, builds, trains a motion LoRA on a small clip, samples two new prompts with
# and without it, and leaves everything in quickstart-output/.
set -eu
cd "$(dirname "$0")/.."

packages="meson ninja-build gcc pkg-config libdnnl-dev libavformat-dev libavcodec-dev libavutil-dev
    libswscale-dev libavfilter-dev libcjson-dev libyaml-dev zlib1g-dev libunistring-dev
    python3-matplotlib"
missing=""
for package in $packages; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
        missing="$missing $package"
done
if [ -n "$missing" ]; then
    echo "== Installing:$missing"
    if [ "$(id -u)" = 0 ]; then as_root=""; else as_root=sudo; fi
    $as_root apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends $missing
fi

echo "== Building"
build=build-quickstart
[ -f "$build/build.ninja" ] || meson setup "$build" -Dtests=false >"$build.log" 2>&1 || {
    cat "$build.log"
    exit 1
}
rm -f "$build.log"
ninja -C "$build" --quiet
tools=$build/tools

model=tests/fixtures/quickstart-model
out=quickstart-output
rm -rf "$out"
mkdir "$out"
size="--width 64 --height 64 --num-frames 8"

echo "== Training a motion LoRA on examples/reference.mp4"
# shellcheck disable=SC2086
"$tools/mm-train" --quiet --model "$model" --video examples/reference.mp4 --prompt "a red circle" \
    --output-dir "$out/run" $size --steps 40 --rank 8 --checkpoint-every 20 --seed 1 \
    --validation-every 0 --noise-prior 0.3 --validation-num-steps 10

echo "== Sampling two new prompts, with and without it"
for prompt in "a blue square" "a green star"; do
    # shellcheck disable=SC2086
    "$tools/mm-infer" --quiet --checkpoint-folder "$out/run" --prompt "$prompt" --num-steps 10 \
        --output-dir "$out/with-lora" --seed 1
    # shellcheck disable=SC2086
    "$tools/mm-infer" --quiet --model "$model" --prompt "$prompt" --num-steps 10 $size \
        --output-dir "$out/without-lora" --seed 1
done
"$tools/mm-infer" --quiet --checkpoint-folder "$out/run" --prompt "a blue square" --num-steps 10 \
    --output "$out/contact-sheet.png" --seed 1

echo "== Drawing the loss"
/usr/bin/python3 examples/plot_loss.py "$out/run/metrics.jsonl" "$out/loss.png"

echo "== Done. $out/ holds:"
(cd "$out" && find . -type f | sort)
