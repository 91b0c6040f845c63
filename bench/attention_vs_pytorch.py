#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Time the attention ops of bench/ops and PyTorch's scaled_dot_product_attention in one run.

    attention_vs_pytorch.py --build DIR [--precision f32 bf16] [--threads 1] [--isa NAME] [--cpu-time]

Both begin with the rows that the layer before them leaves, queries, keys and values side by side,
and end with rows for the layer after; backward with the gradient of those rows.
"""
import argparse
import json
import os
import subprocess
import time
from pathlib import Path

import torch
import torch.nn.functional as F

TYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
WIDTH, TOKENS = 64, 77


def attend(kind, case, x, kv):
    images, pixels, channels = case["images"], case["side"] ** 2, case["out"]

    def heads(t):
        return t.unflatten(-1, (channels // WIDTH, WIDTH)).transpose(-3, -2)

    if "text" in kind:
        q = x.view(images, pixels, channels)
        y = F.scaled_dot_product_attention(heads(q), *(heads(t) for t in kv.chunk(2, -1)))
    else:
        rows = x.view(images, pixels, 3 * channels)
        rows = rows.transpose(0, 1) if "time" in kind else rows
        y = F.scaled_dot_product_attention(*(heads(t) for t in rows.chunk(3, -1)))
    y = y.transpose(-3, -2).flatten(-2)
    return (y.transpose(0, 1) if "time" in kind else y).reshape(images * pixels, channels)


def pytorch_seconds(case, dtype, clock):
    kind = case["op"]
    generator = torch.Generator().manual_seed(0)
    columns = case["out"] if "text" in kind else 3 * case["out"]
    backward = kind.endswith("back")
    rows = case["images"] * case["side"] ** 2
    x = torch.rand(rows, columns, generator=generator).to(dtype).requires_grad_(backward)
    kv = torch.rand(case["images"], TOKENS, 2 * case["out"], generator=generator).to(dtype)
    dy = torch.rand(rows, case["out"], generator=generator).to(dtype)
    best, end = float("inf"), clock() + 1.5
    with torch.set_grad_enabled(backward):
        for run in range(30):
            y = attend(kind, case, x, kv) if backward else None
            start = clock()
            if backward:
                torch.autograd.grad(y, x, dy)
            else:
                attend(kind, case, x, kv)
            if run:
                best = min(best, clock() - start)
            if run >= 2 and clock() > end:
                break
    return best


def our_cases(arguments, precision):
    command = [arguments.build / "bench" / "ops", "--json", "--filter", "attention"]
    command += ["--precision", precision, "--threads", str(arguments.threads)]
    command += ["--cpu-time"] if arguments.cpu_time else []
    command += ["--isa", arguments.isa] if arguments.isa else []
    environment = dict(os.environ, OMP_NUM_THREADS=str(arguments.threads))
    return json.loads(subprocess.run(command, env=environment, check=True, capture_output=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--precision", nargs="+", choices=TYPES, default=["f32"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--isa")
    parser.add_argument("--cpu-time", action="store_true", help="for one thread only")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    clock = time.process_time if arguments.cpu_time else time.perf_counter
    print("| op | frames x side^2, channels | type | ours, ms | share of peak | PyTorch, ms | ratio |")
    print("|---|---|---|---|---|---|---|")
    for precision in arguments.precision:
        for case in our_cases(arguments, precision)["ops"]:
            theirs = 1e3 * pytorch_seconds(case, TYPES[precision], clock)
            size = f"{case['images']} x {case['side']}^2, {case['out']}"
            cells = [case["op"], size, precision, f"{case['ms']:.1f}", f"{case['share_of_peak']:.2f}"]
            cells += [f"{theirs:.1f}", f"{theirs / case['ms']:.2f}"]
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
