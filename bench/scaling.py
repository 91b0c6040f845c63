#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Time and memory of a training step and of a forward pass against frames, pixels and rank.

    scaling.py --build DIR --model DIR [--frames 4 8 16 24] [--side 24 32 40 48] [--rank 4 16 32 64]
               [--precision f32] [--threads N] [--runs 2] [--cpu-time]
               [--json FILE] [--table FILE] [--plot FILE]

Each of the three is varied while the others stay at their middle value; a forward pass has no rank.
The sides are of square latents and must fit the model. --json also keeps what was measured, and
measures nothing again that is in the file. The slope in the table is that of log cost against log
size: 1 is linear. Attention between pixels makes it larger where the pictures are large.
"""
import argparse
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

PROGRAMS = {"training step": "training_step", "forward pass": "unet_forward"}
LABELS = {"frames": "frames", "side": "pixels of a frame's latents", "rank": "rank of the LoRA"}


def command_of(arguments, what, point):
    side = f"{point['side']}x{point['side']}"
    command = [arguments.build / "bench" / PROGRAMS[what], arguments.model, "--size", side]
    command += ["--frames", point["frames"], "--threads", arguments.threads]
    if arguments.precision != "f32":  # the programs' default
        command += ["--precision", arguments.precision]
    if arguments.cpu_time:
        command.append("--cpu-time")
    if what == "training step":
        return [*command, "--rank", point["rank"], "--runs", arguments.runs]
    return [*command, "--runs", arguments.runs + 1]


def measure(arguments, what, point):
    command = [str(c) for c in command_of(arguments, what, point)]
    environment = dict(os.environ, OMP_NUM_THREADS=str(arguments.threads))
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr}")
    rows = re.findall(r"^(?:step|run) (\d+): ([\d.]+) s", done.stdout, re.MULTILINE)
    if what == "forward pass":  # the first run touches the memory
        rows = rows[1:]
    arena = float(re.search(r"arena ([\d.]+) GiB", done.stdout)[1])
    flops = float(re.search(r"([\d.]+) TFLOP", done.stdout)[1])
    return dict(seconds=min(float(s) for _, s in rows), arena_gib=arena, tflop=flops)


def points_of(arguments):
    values = {key: getattr(arguments, key) for key in LABELS}
    middle = {key: v[len(v) // 2] for key, v in values.items()}
    for what in PROGRAMS:
        for key, list_of in values.items():
            if key == "rank" and what == "forward pass":
                continue
            for value in list_of:
                yield what, key, {**middle, key: value}


def known(results, what, point):
    fields = ["what", *point]
    return next((r for r in results if [r[f] for f in fields] == [what, *point.values()]), None)


def measure_all(arguments):
    path, results, series = arguments.json, [], {}
    if path and path.exists():
        results = json.loads(path.read_text())
    for what, key, point in points_of(arguments):
        row = known(results, what, point)
        if not row:
            row = dict(what=what, **point, **measure(arguments, what, point))
            results.append(row)
            print(row, file=sys.stderr, flush=True)
            if path:
                path.write_text(json.dumps(results, indent=1) + "\n")
        series.setdefault((what, key), []).append(row)
    return series


def size_of(row, key):
    return row["side"] ** 2 if key == "side" else row[key]


def slope(rows, key, cost):
    """NaN where the cost is too small to be printed."""
    if not all(r[cost] > 0 for r in rows):
        return math.nan
    x, y = ([math.log(f(r)) for r in rows] for f in (lambda r: size_of(r, key), lambda r: r[cost]))
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y)) / sum((a - mean_x) ** 2 for a in x)


def table(series):
    yield "| what | against | sizes | seconds | slope | arena, GiB | slope |"
    yield "|---|---|---|---|---|---|---|"
    for (what, key), rows in series.items():
        cells = [what, LABELS[key], " ".join(str(size_of(r, key)) for r in rows)]
        for cost, digits in (("seconds", 3), ("arena_gib", 3)):
            cells.append(" ".join(f"{r[cost]:.{digits}g}" for r in rows))
            cells.append(f"{slope(rows, key, cost):.2f}")
        yield f"| {' | '.join(cells)} |"


def plot(series, path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 3, figsize=(11, 6), squeeze=False)
    for column, key in enumerate(LABELS):
        for line, (cost, unit) in enumerate((("seconds", "seconds"), ("arena_gib", "arena, GiB"))):
            axis = axes[line][column]
            for what in PROGRAMS:
                rows = series.get((what, key))
                if rows:
                    x = [size_of(r, key) for r in rows]
                    axis.plot(x, [r[cost] for r in rows], "o-", label=what, markersize=4)
            axis.set_xlabel(LABELS[key])
            axis.set_xlim(left=0)
            axis.set_ylim(bottom=0)
            axis.grid(alpha=0.3)
            if column == 0:
                axis.set_ylabel(unit)
    axes[0][0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--frames", type=int, nargs="+", default=[4, 8, 16, 24])
    parser.add_argument("--side", type=int, nargs="+", default=[24, 32, 40, 48])
    parser.add_argument("--rank", type=int, nargs="+", default=[4, 16, 32, 64])
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--cpu-time", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--table", type=Path)
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    series = measure_all(arguments)
    text = "\n".join(table(series)) + "\n"
    print(text, end="")
    if arguments.table:
        arguments.table.write_text(text)
    if arguments.plot:
        plot(series, arguments.plot)


if __name__ == "__main__":
    main()
