# SPDX-License-Identifier: BSD-2-Clause
"""claims.py DEMO_DIRECTORY CLAIMS_DIRECTORY: the figures and the plan of bench/claims, and that a
run goes on where it was stopped, with stand-ins for the tools."""
import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy as np

sys.path[:0] = sys.argv[1:3]
import clips  # noqa: E402
import detect  # noqa: E402
import figures  # noqa: E402
import plan  # noqa: E402
import report  # noqa: E402

PIXELS = clips.SIZE ** 2


def seen_as(clip, **changed):
    """An analysis that saw the clip as it is."""
    camera = np.full((clips.FRAMES, 3), np.nan)
    if clip.background in clips.TEXTURED:
        camera = figures.from_first_frame(clip.camera)
    seen = detect.Analysis(clip.track(), np.ones(clips.FRAMES, int), np.ones(clips.FRAMES),
                           clip.colour, clip.shape, clip.background, 0.0, camera,
                           np.full(2, np.nan))
    return dataclasses.replace(seen, **changed)


def test_discrepancy():
    tracks = np.random.default_rng(0).uniform(0, 64, (5, 16, 2))
    assert figures.discrepancy(tracks, tracks) < 1e-12
    assert figures.discrepancy(tracks, tracks[::-1]) < 1e-12
    # One track, shifted by (3, 4): (9 + 16) / 2 each way.
    assert np.isclose(figures.discrepancy(tracks[:1], tracks[:1] + [3, 4]), 25 / PIXELS)
    # One way each track's nearest, the other way too: 0 against the mean of 0 and 8.
    two = np.zeros((2, 16, 2))
    two[1] = 2 * np.sqrt(2)
    assert np.isclose(figures.discrepancy(two[:1], two), 8 / 2 / PIXELS)


def test_object():
    clip = plan.reference(0).clip
    exact = figures.motion_figures(clip, seen_as(clip))
    assert exact["motion"] == exact["placement"] == exact["missing"] == 0 and "ground" not in exact
    moved = figures.motion_figures(clip, seen_as(clip, positions=clip.track() + [3, 4]))
    assert np.isclose(moved["motion"], 25 / PIXELS) and np.isclose(moved["placement"], 5)
    assert moved["path"] < 1e-12
    gone = clip.track()
    gone[3:6] = np.nan
    held = figures.motion_figures(clip, seen_as(clip, positions=gone))
    expected = clip.track()
    expected[3:5], expected[5] = expected[2], expected[6]
    expected[4] = expected[2]
    assert np.isclose(held["motion"], figures.discrepancy(clip.track()[None], expected[None]))
    assert held["carried"] == 3 / 16
    nothing = figures.motion_figures(clip, seen_as(clip, positions=np.full((16, 2), np.nan)))
    assert nothing["missing"] == 1
    anywhere = np.random.default_rng(1).uniform(0, 64, (16, 2))
    assert nothing["motion"] > figures.motion_figures(
        clip, seen_as(clip, positions=anywhere))["motion"]


def test_ground():
    pan = next(r.clip for r in plan.references(12) if r.clip.camera_motion == "pan")
    exact = figures.motion_figures(pan, seen_as(pan))
    assert exact["ground"] < 1e-9 and exact["motion"] < 1e-9
    still = figures.motion_figures(pan, seen_as(pan, camera=np.full((16, 3), np.nan)))
    assert still["ground"] > 0.01 and np.isclose(still["motion"], still["ground"] / 2)
    along = figures.from_first_frame(pan.camera)
    along[:, :2] += np.linspace(0, 20, 16)[:, None] * [1, -1]
    across = np.array([1, 1]) / np.sqrt(2)
    assert figures.ground_discrepancy(pan, seen_as(pan, camera=along, across=across)) < 1e-9
    assert figures.ground_discrepancy(pan, seen_as(pan, camera=along)) > 0.01


def test_seen():
    """References looked at from their pixels are found again."""
    for reference in plan.references(3):
        clip = reference.clip
        seen = detect.analyse(clips.render(clip))
        found = figures.video_figures(clip, {**vars(clip)}, seen)
        assert found["motion"] < 0.001 and found["text"] == 1 and found["leak"] == 1


def test_text():
    reference = plan.reference(1)
    prompt, clip = reference.prompts[0], reference.clip
    seen = seen_as(clip, colour=prompt["colour"], background=prompt["background"])
    found = figures.text_figures(clip, prompt, seen)
    assert np.isclose(found["text"], 2 / 3) and found["leak_colour"] == 0
    assert found["leak_shape"] == found["leak"] == 1


def test_plan():
    listed = plan.references(24)
    assert plan.references(24)[20].prompts == listed[20].prompts
    seeds = [seed for r in listed for p in r.prompts for seed in p["seeds"]]
    assert len(set(seeds)) == len(seeds) == 24 * 6
    for reference in listed:
        clip = reference.clip
        for key in ("colour", "shape"):
            values = [prompt[key] for prompt in reference.prompts]
            assert len(set(values)) == 3 and getattr(clip, key) not in values
        backgrounds = {prompt["background"] for prompt in reference.prompts}
        if reference.camera_moves:
            assert backgrounds <= set(clips.TEXTURED) and clip.background in clips.TEXTURED
        else:
            assert len(backgrounds) == 3 and clip.background not in backgrounds
    first = listed[:12]
    assert {r.clip.motion for r in first} == set(clips.MOTIONS)
    assert sum(r.camera_moves for r in first) == 4
    assert not np.array_equal(listed[0].clip.path, listed[12].clip.path)


def made_up(reference, method, motion, text):
    return {"reference": reference, "method": method, "figures": {
        "motion": motion, "object": motion, "path": motion, "placement": motion, "colour": text,
        "shape": text, "background": text, "text": text, "leak_colour": 0, "leak_shape": 0,
        "leak": 0, "single": 1, "missing": 0, "carried": 0}}


def test_claims():
    results = [made_up(str(r), method, scale * (1 + 0.1 * r + 0.05 * i), 1)
               for r in range(6) for i in range(2)
               for method, scale in (("base", 8), ("motionmatcher", 2), ("ddpm", 2))]
    rows = {row["claim"]: row for row in report.claims(results)}
    base = rows["motion discrepancy, base model over MotionMatcher, intervals apart"]
    assert np.isclose(base["value"], 4) and base["met"] and base["sure"]
    ddpm = rows["motion discrepancy, DDPM objective over MotionMatcher"]
    assert np.isclose(ddpm["value"], 1) and not ddpm["met"] and not ddpm["sure"]
    alone = [result for result in results if result["reference"] == "0"]
    assert not any(row["sure"] for row in report.claims(alone))
    assert report.claims(results) == report.claims(results)
    # Six videos of one reference count as one, not as six.
    figure = report.method_figures(results, "base")["motion"]
    assert figure["references"] == 6 and figure["low"] < figure["mean"] < figure["high"]
    with tempfile.TemporaryDirectory() as folder:
        text = report.write(pathlib.Path(folder), results, ["0 ddpm: diverged"])
        assert "diverged" in text and "| MotionMatcher | " in text
        assert json.loads((pathlib.Path(folder) / "claims.json").read_text())["claims"]


TRAIN = """#!/bin/sh
# The first call is stopped after it has begun.
echo "train $*" >> "$LOG"
case "$*" in *--print-config*) echo '{"noise_prior": 0}'; exit;; esac
while [ $# -gt 0 ]; do
    case "$1" in --output-dir) mkdir -p "$2"; echo '{}' > "$2/config.json"; exit 9;;
    --resume) exit 0;; esac
    shift
done
"""
INFER = """#!/bin/sh
echo "infer $*" >> "$LOG"
while [ $# -gt 0 ]; do
    case "$1" in --output) cp "$CLIP" "$2";; esac
    shift
done
"""


def run_claims(folder, *more):
    environment = {**os.environ, "LOG": str(folder / "log"), "CLIP": str(folder / "clip.mp4"),
                   "MPLCONFIGDIR": str(folder)}
    (folder / "log").write_text("")
    done = subprocess.run(
        [sys.executable, pathlib.Path(sys.argv[2]) / "run.py", "--tools", folder / "tools",
         "--model", folder / "model", "--output", folder / "out", "--references", "1",
         "--methods", "base", "motionmatcher", *more],
        env=environment, capture_output=True, text=True)
    words = [line.split()[0] for line in (folder / "log").read_text().splitlines()
             if "--print-config" not in line]
    return done, words.count("train"), words.count("infer")


def prepare(folder):
    for name, text in (("mm-train", TRAIN), ("mm-infer", INFER)):
        (folder / "tools").mkdir(exist_ok=True)
        (folder / "tools" / name).write_text(text)
        (folder / "tools" / name).chmod(0o755)
    (folder / "model" / "unet").mkdir(parents=True)
    (folder / "model" / "unet" / "config.json").write_text("{}")
    clips.write_video(folder / "clip.mp4", clips.render(plan.reference(0).clip))


def check_kept(folder, trainings, videos, *more):
    """What a run with these settings finds done already."""
    done, *_ = run_claims(folder, "--dry-run", *more)
    assert f"1 trainings, {trainings} of them done" in done.stdout, done
    assert f"12 videos, {videos} of them done" in done.stdout, done


def test_run():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        prepare(folder)
        done, trainings, videos = run_claims(folder)
        assert done.returncode == 1 and "exit status 9" in done.stderr, done.stderr
        assert (trainings, videos) == (1, 6)
        done, trainings, videos = run_claims(folder)
        assert done.returncode == 0 and (trainings, videos) == (1, 6), done.stderr
        assert "--resume" in (folder / "log").read_text()
        seen = json.loads((folder / "out" / "claims.json").read_text())
        assert len(seen["videos"]) == 12 and seen["methods"]["base"]["motion"]["mean"] < 1e-3
        check_kept(folder, 1, 12)
        check_kept(folder, 1, 0, "--infer-set", "num_steps=3")
        check_kept(folder, 0, 6, "--train-set", "steps=3")
        (folder / "model" / "unet" / "config.json").write_text("{ }")
        check_kept(folder, 0, 0)


test_discrepancy()
test_object()
test_ground()
test_seen()
test_text()
test_plan()
test_claims()
if shutil.which("ffmpeg"):
    test_run()
