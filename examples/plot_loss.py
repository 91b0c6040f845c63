#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""plot_loss.py METRICS_JSONL PICTURE: the loss of a training run and its two parts, by step: thin as it
was, thick its mean over neighbouring steps, since every step draws a timestep of its own."""
import json
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

NEIGHBOURS = 10  # on either side


def smoothed(values):
    """Means over the neighbours; fewer of them at both ends."""
    near = [values[max(0, i - NEIGHBOURS):i + NEIGHBOURS + 1] for i in range(len(values))]
    return [sum(part) / len(part) for part in near]


def main(metrics, picture):
    with open(metrics, encoding="utf-8") as lines:
        steps = [json.loads(line) for line in lines]
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    count = [s["step"] for s in steps]
    for number, (key, label) in enumerate([
        ("loss", "loss"),
        ("loss_spatial", "cross-attention maps"),
        ("loss_temporal", "temporal self-attention maps"),
    ]):
        values = [s[key] for s in steps]
        axes.plot(count, values, color=f"C{number}", linewidth=0.8, alpha=0.4)
        axes.plot(count, smoothed(values), color=f"C{number}", linewidth=1.8, label=label)
    axes.set_xlabel("step")
    axes.set_ylabel("weighted mean squared difference")
    axes.set_yscale("log")
    axes.legend()
    figure.savefig(picture, dpi=120)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
