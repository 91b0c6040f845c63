#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""How far videos of the demo model move from a reference clip, without and with a motion LoRA: finds
the object in every frame, prints the distances of the tracks, and draws a contact sheet.

    python3 examples/compare.py --reference VIDEO --without DIR --with DIR [--sheet PICTURE.png]

Videos of the two folders belong together by file name; their prompts are in the .json beside each.
"""
import argparse
import json
import math
import pathlib
import sys
import textwrap

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
# In a checkout, and beside an installed demo model.
sys.path[:0] = [str(ROOT / part) for part in ("models/demo", "bench/claims", "demo")]
import clips  # noqa: E402
import detect  # noqa: E402
import figures  # noqa: E402

SHOWN = 4  # frames of a video on the sheet
GAP = 4  # pixels between them
COLUMNS = ("reference", "without the LoRA", "with the LoRA")


class Video:
    """Frames, and where the object is in each of them (NaN where there is none)."""

    def __init__(self, path):
        self.frames = detect.read_video(path)
        self.positions = detect.analyse(self.frames).positions

    @property
    def lost(self):
        return int(np.isnan(self.positions[:, 0]).sum())


def discrepancy(reference, video):
    """The paper's motion discrepancy, of one track against one."""
    true = figures.carried(reference.positions)
    return figures.discrepancy(true[None], figures.whole_track(video.positions, true)[None])


def pixels(value):
    """Root mean square distance of two tracks with this discrepancy."""
    return math.sqrt(value * clips.SIZE ** 2)


def prompt_of(path):
    return json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["prompt"]


def read_pairs(without, with_lora):
    """(prompt, video without, video with) of every file that both folders have."""
    names = sorted(path.name for path in without.glob("*.mp4") if (with_lora / path.name).exists())
    return [(prompt_of(without / name), Video(without / name), Video(with_lora / name))
            for name in names]


def print_table(rows):
    """Rows: (name, discrepancy without, with)."""
    width = max(len(name) for name, *_ in rows)
    print(f"{'distance of the tracks':{width}}  without the LoRA    with the LoRA")
    for name, *values in rows:
        print(f"{name:{width}}" + "".join(f"{pixels(v):8.1f} px {1000 * v:6.1f}" for v in values))
    print(f"px: root mean square distance from the reference's track, in a picture of {clips.SIZE} pixels;\n"
          "beside it the motion discrepancy x 1000. 0 is the same motion at the same place.")


def strip(frames):
    """Some frames of a video side by side, and which."""
    shown = np.linspace(0, len(frames) - 1, SHOWN).round().astype(int)
    height, width = frames.shape[1:3]
    picture = np.full((height, SHOWN * (width + GAP) - GAP, 3), 255, np.uint8)
    for place, frame in enumerate(shown):
        picture[:, place * (width + GAP):][:, :width] = frames[frame]
    return picture, shown


def draw_strip(axes, video, note):
    """The strip, with the way that the object has come so far on every frame."""
    from matplotlib import patheffects
    picture, shown = strip(video.frames)
    axes.imshow(picture, interpolation="nearest")
    outline = [patheffects.Stroke(linewidth=2.6, foreground="white"), patheffects.Normal()]
    for place, frame in enumerate(shown):
        way = video.positions[:frame + 1] - 0.5 + [place * (video.frames.shape[2] + GAP), 0]
        axes.plot(*way.T, color="black", linewidth=1.2, path_effects=outline)
        axes.plot(*way[-1], "o", color="black", markersize=2.5, path_effects=outline)
    axes.set_xlim(-0.5, picture.shape[1] - 0.5)
    axes.set_ylim(picture.shape[0] - 0.5, -0.5)
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_xlabel(note, fontsize=9)


def draw_sheet(path, reference, pairs, rows):
    """A row a prompt: its words, then reference, without and with the LoRA."""
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    sheet, grid = plt.subplots(len(pairs), 3, figsize=(11.5, 1.25 * len(pairs) + 0.3), squeeze=False,
                               layout="constrained")
    for line, (prompt, *videos), (_, *values) in zip(grid, pairs, rows):
        notes = ["", *(f"{pixels(value):.1f} px from the reference" for value in values)]
        for axes, video, note in zip(line, (reference, *videos), notes):
            draw_strip(axes, video, note)
        line[0].set_ylabel(textwrap.fill(prompt, 17), rotation=0, ha="right", va="center", fontsize=9)
    for axes, title in zip(grid[0], COLUMNS):
        axes.set_title(title, fontsize=11)
    sheet.savefig(path, dpi=100)
    plt.close(sheet)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--reference", type=pathlib.Path, required=True)
    parser.add_argument("--without", type=pathlib.Path, required=True, metavar="DIR")
    parser.add_argument("--with", type=pathlib.Path, required=True, metavar="DIR", dest="with_lora")
    parser.add_argument("--sheet", type=pathlib.Path, metavar="PICTURE.png")
    return parser.parse_args()


def main():
    arguments = parse()
    reference = Video(arguments.reference)
    pairs = read_pairs(arguments.without, arguments.with_lora)
    if not pairs or reference.lost == len(reference.positions):
        sys.exit("no object in the reference" if pairs else "no videos of one name in both folders")
    rows = [(prompt, *(discrepancy(reference, video) for video in videos))
            for prompt, *videos in pairs]
    print_table(rows + [("mean", *np.mean([values for _, *values in rows], 0))])
    for prompt, *videos in pairs:
        for video, title in zip(videos, COLUMNS[1:]):
            if video.lost:
                print(f"{prompt}, {title}: no object in {video.lost} of {len(video.frames)} frames")
    if arguments.sheet:
        try:
            draw_sheet(arguments.sheet, reference, pairs, rows)
        except ImportError:
            print("no contact sheet: it needs python3-matplotlib", file=sys.stderr)


if __name__ == "__main__":
    main()
