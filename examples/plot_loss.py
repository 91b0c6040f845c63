#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""plot_loss.py METRICS_JSONL PICTURE: the loss of a training run and its two parts, by step."""
import json
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def main(metrics, picture):
    with open(metrics, encoding="utf-8") as lines:
        steps = [json.loads(line) for line in lines]
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for key, label in [
        ("loss", "loss"),
        ("loss_spatial", "cross-attention maps"),
        ("loss_temporal", "temporal self-attention maps"),
    ]:
        axes.plot([s["step"] for s in steps], [s[key] for s in steps], label=label, linewidth=1)
    axes.set_xlabel("step")
    axes.set_ylabel("weighted mean squared difference")
    axes.set_yscale("log")
    axes.legend()
    figure.savefig(picture, dpi=120)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
