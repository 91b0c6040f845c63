#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The curves of the demo model's training, from the logs that train_vae.py and train_unet.py leave.

    python3 models/demo/plot_loss.py --work DIR --output PICTURE.png
"""
import argparse
import csv
import math
import pathlib

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

# Log, title, and a title for each of its columns between step and seconds.
LOGS = (("vae", "VAE", ("loss", "mean squared error")),
        ("unet", "UNet and text encoder: v loss", ("clips", "clips, timesteps 500 to 999",
                                                   "clips, timesteps 0 to 499", "images")))


def read_log(path):
    """Columns of the log, with a gap where a figure is 0: there was nothing to measure. Of a step
    that was done twice, after a stop, the second time."""
    with open(path, newline="") as log:
        rows = {int(row[0]): [float(value) for value in row[1:]] for row in csv.reader(log)}
    steps = sorted(rows)
    columns = zip(*(rows[step] for step in steps))
    return steps, [[value or math.nan for value in column] for column in columns]


def draw(axes, path, title, names):
    steps, columns = read_log(path)
    for name, column in zip(names, columns):
        axes.plot(steps, column, linewidth=1, label=name)
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("step")
    axes.set_yscale("log")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--work", type=pathlib.Path, required=True, help="folder of the logs")
    parser.add_argument("--output", type=pathlib.Path, required=True, help="the picture")
    arguments = parser.parse_args()
    sheet, grid = plt.subplots(1, len(LOGS), figsize=(11, 3.6), layout="constrained")
    for axes, (name, title, columns) in zip(grid, LOGS):
        draw(axes, arguments.work / f"{name}.csv", title, columns)
    sheet.savefig(arguments.output, dpi=90)


if __name__ == "__main__":
    main()
