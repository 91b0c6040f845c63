#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""How well the demo model draws what it is asked for: samples a fixed list of prompts through
mm-infer, looks at the written videos with detect.py, and prints a table (markdown and JSON).

    python3 models/demo/quality.py --tools build/tools --model models/demo --output DIR

Videos that DIR holds already are kept, unless model, settings or prompt have changed.
"""
import argparse
import concurrent.futures
import json
import pathlib
import sys
import time

import numpy as np

import clips
import detect
import intervals
import kept

HERE = pathlib.Path(__file__).resolve().parent
FIRST_SEED = 500
NAMED = ("colour", "background", "shape")
WANTED = {"colour": 0.95, "background": 0.95, "shape": 0.85, "single": 0.9, "smooth": None}
TITLES = {"colour": "right colour", "background": "right background", "shape": "right shape",
          "single": "frames with exactly one object", "smooth": "smooth track (true clips: 93 %)"}


def prompts(count):
    """Every colour and shape on changing backgrounds: three rounds in wordings that were held out
    of the training, then one in wordings of it, and so on."""
    pairs = [(colour, shape) for colour in clips.COLOURS for shape in clips.SHAPES]
    listed = []
    for number in range(count):
        colour, shape = pairs[number % len(pairs)]
        held_out = number // len(pairs) % 4 != 3
        wordings = clips.HELD_OUT_WORDINGS if held_out else clips.WORDINGS
        words = {"colour": colour, "shape": shape,
                 "background": clips.BACKGROUNDS[number % len(clips.BACKGROUNDS)]}
        wording = wordings[(number + number // len(pairs)) % len(wordings)]
        listed.append({**words, "held_out": held_out, "prompt": wording.format(**words),
                       "seed": FIRST_SEED + number})
    return listed


def sample_all(arguments, listed):
    """Draws every prompt's video; returns their paths."""
    tool = arguments.tools / "mm-infer"
    base = [kept.model_digest(arguments.model), arguments.config, arguments.set]
    progress = kept.Progress({"videos": len(listed)}, arguments.jobs)

    def draw(prompt):
        path = arguments.output / f"{prompt['seed']}.mp4"
        key = kept.digest(*base, prompt["prompt"], prompt["seed"])
        words = ["--config", arguments.config, *kept.options({
            "model": arguments.model, "prompt": prompt["prompt"], "seed": prompt["seed"],
            "threads": arguments.threads}), *(w for pair in arguments.set for w in ("--set", pair))]
        started = time.monotonic()
        worked = kept.sample(tool, path, key, words)
        progress.done("videos", prompt["prompt"], time.monotonic() - started if worked else None)
        return path

    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        return list(pool.map(draw, listed))


def judge(prompt, path):
    seen = detect.analyse(detect.read_video(path))
    found = {key: getattr(seen, key) for key in NAMED}
    figures = {key: float(found[key] == prompt[key]) for key in NAMED}
    return {"path": path.name, "asked": prompt, "found": found,
            "figures": {**figures, "single": seen.single, "smooth": float(seen.smooth)}}


def summary(videos):
    """Share and interval of every figure."""
    figures = {"videos": len(videos)}
    for key in WANTED:
        values = np.array([video["figures"][key] for video in videos])
        low, high = intervals.mean_interval(values)[1:] if key == "single" \
            else intervals.wilson(values.sum(), values.size)
        figures[key] = {"share": float(values.mean()), "low": low, "high": high}
    return figures


def markdown(parts):
    """The table: a row a figure, a column a part of the prompts."""
    def cell(figure):
        share, low, high = (100 * figure[key] for key in ("share", "low", "high"))
        return f"{share:.1f} % ({low:.1f} to {high:.1f})"

    names = " | ".join(f"{name} ({figures['videos']} videos)" for name, figures in parts.items())
    lines = [f"| | {names} | wanted |", "|---|" + "---|" * (len(parts) + 1)]
    for key, wanted in WANTED.items():
        cells = " | ".join(cell(figures[key]) for figures in parts.values())
        lines.append(f"| {TITLES[key]} | {cells} | {f'{100 * wanted:.0f} %' if wanted else ''} |")
    return "\n".join(lines)


def mistakes(videos):
    """What was asked for and what was seen instead, for a look at the model's weak spots."""
    return [f"{video['path']}: {video['found'][key] or 'no'} {key} for {video['asked'][key]}"
            for video in videos for key in NAMED if not video["figures"][key]]


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--tools", type=pathlib.Path, required=True, help="folder of mm-infer")
    parser.add_argument("--model", type=pathlib.Path, default=HERE)
    parser.add_argument("--output", type=pathlib.Path, required=True, help="folder of the videos")
    parser.add_argument("--config", type=pathlib.Path, default=HERE / "mm-infer.yaml")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="changes one setting of mm-infer; repeatable")
    parser.add_argument("--prompts", type=int, default=96, help="how many (default 96)")
    parser.add_argument("--jobs", type=int, default=1, help="videos at a time (default 1)")
    parser.add_argument("--threads", type=int, default=0, help="threads of each (default: all)")
    return parser.parse_args()


def main():
    arguments = parse()
    listed = prompts(arguments.prompts)
    try:
        paths = sample_all(arguments, listed)
    except kept.ToolFailed as failure:
        sys.exit(str(failure))
    videos = [judge(prompt, path) for prompt, path in zip(listed, paths)]
    parts = {"held-out wordings": True, "wordings of the training": False}
    chosen = {name: [video for video in videos if video["asked"]["held_out"] == held_out]
              for name, held_out in parts.items()}
    figures = {name: summary(part) for name, part in chosen.items() if part}
    print(markdown(figures))
    print("\n".join(mistakes(videos)), file=sys.stderr)
    (arguments.output / "quality.json").write_text(
        json.dumps({"figures": figures, "videos": videos}, indent=1) + "\n")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
