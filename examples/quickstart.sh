#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Installs what is missing, builds, trains a motion LoRA on examples/reference.mp4 with the demo model,
# samples three new prompts with and without it, and leaves videos and pictures in quickstart-output/.
# Installed tools and an installed demo model are used where they are there. From the environment:
#   MM_DEMO_MODEL                 the model, in place of the demo model
#   MM_QUICKSTART_OUTPUT          the folder, in place of quickstart-output/
#   MM_QUICKSTART_STEPS           training steps, in place of those of mm-train.yaml
#   MM_QUICKSTART_SAMPLING_STEPS  sampling steps, in place of those of mm-infer.yaml
set -eu

absolute() {
    case $1 in
        "" | /*) printf '%s' "$1" ;;
        *) printf '%s' "$PWD/$1" ;;
    esac
}

asked_model=$(absolute "${MM_DEMO_MODEL:-}")
out=$(absolute "${MM_QUICKSTART_OUTPUT:-}")
here=$PWD
CDPATH='' cd -- "$(dirname -- "$0")/.."
[ ! -d models ] || here=$PWD # a checkout takes its output itself
out=${out:-$here/quickstart-output}
export PYTHONDONTWRITEBYTECODE=1
started=$(date +%s)

build_packages="meson ninja-build gcc pkg-config libdnnl-dev libavformat-dev libavcodec-dev libavutil-dev
    libswscale-dev libavfilter-dev libcjson-dev libyaml-dev zlib1g-dev libunistring-dev"
picture_packages="python3-matplotlib python3-numpy ffmpeg"

say() { echo "== $*"; }

fail() {
    echo "quickstart: $*" >&2
    exit 1
}

missing_of() {
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
            printf ' %s' "$package"
    done
}

# Leaves in $missing what could not be installed.
install_missing() {
    missing=$(missing_of "$@")
    [ -n "$missing" ] || return 0
    if ! command -v apt-get >/dev/null; then
        say "Not Debian: going on without asking for$missing"
        return 0
    elif [ "$(id -u)" = 0 ]; then as_root=
    elif command -v sudo >/dev/null; then as_root=sudo
    else
        say "Neither root nor sudo: going on without$missing"
        return 0
    fi
    say "Installing$missing"
    $as_root apt-get update -qq || true
    # shellcheck disable=SC2086
    $as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends $missing || true
    # shellcheck disable=SC2086
    missing=$(missing_of $missing)
    [ -z "$missing" ] || say "Not installed, going on without$missing"
}

build_failed() {
    cat "$1" >&2
    [ -z "$missing" ] || fail "cannot build; these are missing (as root: apt-get install):$missing"
    fail "cannot build; see above"
}

build() {
    say "Building"
    folder=build-quickstart
    if ! command -v meson >/dev/null || ! command -v ninja >/dev/null; then
        fail "cannot build without meson and ninja (as root: apt-get install$missing)"
    fi
    if [ ! -f "$folder/build.ninja" ]; then
        meson setup "$folder" -Dtests=false >"$folder.log" 2>&1 || build_failed "$folder.log"
    fi
    ninja -C "$folder" >"$folder.log" 2>&1 || build_failed "$folder.log"
    rm -f "$folder.log"
    tools=$PWD/$folder/tools
}

find_model() {
    if [ -n "$asked_model" ]; then
        model=$asked_model
    else
        model=models/demo
        for installed in "$tools/../share/motionmatcher/demo" /usr/share/motionmatcher/demo; do
            [ ! -f "$installed/model_index.json" ] || model=$installed
        done
    fi
    [ -f "$model/model_index.json" ] || fail "no model in $model"
}

# The settings beside the model, or those of the checkout.
settings() {
    if [ -f "$model/$1" ]; then printf '%s' "$model/$1"; else printf '%s' "models/demo/$1"; fi
}

find_python() {
    python=
    for modules in numpy,matplotlib numpy; do
        for candidate in /usr/bin/python3 python3; do
            [ -z "$python" ] || return 0
            if "$candidate" -c "import $modules" 2>/dev/null; then python=$candidate; fi
        done
    done
}

# Picks installed tools, or builds them.
tools=$(dirname -- "$(command -v mm-train || echo .)")
if [ -x "$tools/mm-train" ] && [ -x "$tools/mm-infer" ] && [ -x "$tools/mm-eval" ]; then
    # shellcheck disable=SC2086
    install_missing $picture_packages
    say "Using the tools in $tools"
else
    # shellcheck disable=SC2086
    install_missing $build_packages $picture_packages
    build
fi
find_model
find_python

reference=examples/reference.mp4
prompt="a red circle on a gray background"
quiet=--quiet # the progress bar is for a terminal
[ ! -t 2 ] || quiet=
mkdir -p "$out"
rm -rf "$out/run" "$out/without-lora" "$out/with-lora" "$out/heat-maps"
rm -f "$out/contact-sheet.png" "$out/loss.png"

say "Training a motion LoRA on $reference with $model"
"$tools/mm-train" $quiet --config "$(settings mm-train.yaml)" --model "$model" --video "$reference" \
    --prompt "$prompt" --output-dir "$out/run" --seed 1 \
    ${MM_QUICKSTART_STEPS:+--steps "$MM_QUICKSTART_STEPS"} >/dev/null

# sample FOLDER PROMPT OPTIONS
sample() {
    folder=$1 wanted=$2
    shift 2
    "$tools/mm-infer" $quiet --config "$(settings mm-infer.yaml)" --prompt "$wanted" --seed 1 \
        --output-dir "$out/$folder" "$@" \
        ${MM_QUICKSTART_SAMPLING_STEPS:+--num-steps "$MM_QUICKSTART_SAMPLING_STEPS"} >/dev/null
}

say "Sampling three new prompts, without the LoRA and with it"
for wanted in "a blue square on a black background" "a green star on a white background" \
    "a yellow triangle on a checkered background"; do
    sample without-lora "$wanted" --model "$model"
    sample with-lora "$wanted" --checkpoint-folder "$out/run"
done

say "Drawing the reference's motion features"
set -- # of the maps that the training compared
for key in width height num_frames spatial_scale_factor temporal_scale_factor; do
    value=$(sed -n "s/^ *\"$key\": *\([0-9]*\),*\$/\1/p" "$out/run/config.json")
    set -- "$@" --set "$key=$value"
done
"$tools/mm-eval" features "$reference" --quiet --model "$model" --prompt "$prompt" --timestep 500 \
    --seed 1 "$@" --pictures "$out/heat-maps" >/dev/null

if [ -z "$python" ] || ! command -v ffmpeg >/dev/null; then
    say "No contact sheet and no distances: they need ffmpeg and python3-numpy"
else
    say "Comparing tracks"
    "$python" examples/compare.py --reference "$reference" --without "$out/without-lora" \
        --with "$out/with-lora" --sheet "$out/contact-sheet.png"
fi
if [ -n "$python" ] && "$python" -c 'import matplotlib' 2>/dev/null; then
    "$python" examples/plot_loss.py "$out/run/metrics.jsonl" "$out/loss.png"
else
    say "No plot of the loss: it needs python3-matplotlib"
fi

say "Done in $(($(date +%s) - started)) seconds. $out holds:"
(cd "$out" && find . -type f | sort)
