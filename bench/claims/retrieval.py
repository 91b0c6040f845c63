#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Retrieval by motion features (appendix C of the paper) on clips whose true motion is known.

    python3 bench/claims/retrieval.py --tools build/tools --model MODEL --output retrieval

Renders random clips of models/demo/clips.py, which differ in shape, colour, background and motion. A
grid of points of each first frame is followed exactly; the tenth of the other clips with the smallest
motion discrepancy of these true tracks is what a query should find. Prints the mean average precision
of every distance that `mm-eval retrieve` has, beside the exact chance level.
"""
import argparse
import json
import pathlib
import subprocess
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "models" / "demo"))
import clips  # noqa: E402
import figures  # noqa: E402

GRID = 24
SHARE = 0.1


def true_tracks(clip):
    """[points, frames, 2]: points on the object stay on it, all others on the ground."""
    side = np.linspace(1, clips.SIZE - 1, GRID)
    start = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    centre, zoom = clip.track(), clip.camera[:, 2]
    radius = clip.radius * zoom
    apart = start - centre[0]
    on_object = clips.coverage(clip.shape, apart[:, 0], apart[:, 1], radius[0]) > 0.5
    middle = clips.SIZE / 2
    on_ground = (start - middle) / zoom[0] + middle + clip.camera[0, :2]
    tracks = clip.ground_tracks(on_ground)
    tracks[on_object] = centre + apart[on_object][:, None] * (radius / radius[0])[:, None]
    return tracks


def write_positives(tracks, names, path):
    wanted = max(1, round(SHARE * (len(tracks) - 1)))
    table = np.array([[figures.discrepancy(a, b) for b in tracks] for a in tracks])
    np.fill_diagonal(table, np.inf)
    lines = [f"{names[query]},{names[found]}" for query, row in enumerate(table)
             for found in np.argsort(row)[:wanted]]
    path.write_text("\n".join(lines) + "\n")


def retrieve(arguments, folder, positives):
    scale = str(arguments.scale)
    command = [str(arguments.tools / "mm-eval"), "retrieve", "--model", str(arguments.model),
               "--all", "--positives", str(positives), "--width", str(clips.SIZE), "--height",
               str(clips.SIZE), "--num-frames", str(clips.FRAMES), "--timestep",
               str(arguments.timestep), "--spatial-scale-factor", scale,
               "--temporal-scale-factor", scale, "--seed", str(arguments.seed), "--json",
               *(["--prompt", arguments.prompt] if arguments.prompt else []), str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    return next(event for event in events if event["event"] == "mean")


def print_table(mean):
    names = {"motion features": "", "CA alone": "_ca", "TSA alone": "_tsa", "latents": "_latents",
             "residual frames": "_residuals"}
    print("| distance | mean average precision x100 | spread |\n|---|---|---|")
    for title, key in names.items():
        print(f"| {title} | {100 * mean['average_precision' + key]:.1f} "
              f"| {100 * mean['spread' + key]:.1f} |")
    print(f"| chance | {100 * mean['chance']:.1f} | |")
    baseline = max(mean["average_precision_latents"], mean["average_precision_residuals"])
    print(f"\nmotion features over the better baseline: {mean['average_precision'] / baseline:.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tools", type=pathlib.Path, required=True, help="folder of the tools")
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--output", type=pathlib.Path, required=True, help="folder to write to")
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--first-seed", type=int, default=900000, help="of the clips")
    parser.add_argument("--timestep", type=int, default=500)
    parser.add_argument("--scale", type=int, default=2, help="scale factor of both features")
    parser.add_argument("--seed", type=int, default=1, help="of the noise")
    parser.add_argument("--prompt", default="", help="for all clips; default: none")
    arguments = parser.parse_args()
    folder = arguments.output / "clips"
    folder.mkdir(parents=True, exist_ok=True)
    made = [clips.random_clip(np.random.default_rng(arguments.first_seed + i))
            for i in range(arguments.clips)]
    names = [f"clip-{i:04d}.mp4" for i in range(len(made))]
    for clip, name in zip(made, names):
        clips.write_video(folder / name, clips.render(clip))
    write_positives([true_tracks(clip) for clip in made], names, arguments.output / "positives.csv")
    print_table(retrieve(arguments, folder, arguments.output / "positives.csv"))


if __name__ == "__main__":
    main()
