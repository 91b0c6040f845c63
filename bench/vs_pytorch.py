#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Time diffusers' UNet in float32 and a program of ours on the same model, one after the other.

    vs_pytorch.py --model DIR [--frames 16] [--side 48] [--threads N] [--repeat 2] -- COMMAND...

COMMAND is run with OMP_NUM_THREADS set, and must print its seconds per forward pass as the last
number on standard output. Peaks are the processes' resident high-water marks, loading included.
"""
import argparse
import os
import re
import resource
import subprocess
import sys
import time

GIB = 1 << 20  # getrusage counts KiB


def time_pytorch(arguments):
    import torch
    from diffusers import UNet3DConditionModel

    torch.set_num_threads(arguments.threads)
    unet = UNet3DConditionModel.from_pretrained(
        os.path.join(arguments.model, "unet"), torch_dtype=torch.float32
    ).eval()
    generator = torch.Generator().manual_seed(0)
    side, frames = arguments.side, arguments.frames
    latents = torch.randn(1, 4, frames, side, side, generator=generator)
    context = torch.randn(1, 77, unet.config.cross_attention_dim, generator=generator)
    with torch.inference_mode():
        for _ in range(arguments.repeat):
            start = time.perf_counter()
            unet(latents, 700, context)
            print(f"{time.perf_counter() - start:.2f}", flush=True)


def measure(command, threads):
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads))
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment)
    if done.returncode:
        sys.exit(f"{command[0]} ended with {done.returncode}")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    numbers = [float(n) for n in re.findall(r"\d+\.?\d*(?:e[-+]?\d+)?", done.stdout)]
    return numbers, peak / GIB if peak > before else None


def shown(peak):
    return "less than the one before" if peak is None else f"{peak:.2f} GiB"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--side", type=int, default=48)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--only-pytorch", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("command", nargs="*")
    arguments = parser.parse_args()
    if arguments.only_pytorch:
        time_pytorch(arguments)
        return
    ours, our_peak = None, None
    if arguments.command:  # ours first: the high-water mark of children only ever grows
        numbers, our_peak = measure(arguments.command, arguments.threads)
        ours = numbers[-1]
        print(f"ours     {ours:8.2f} s   peak {shown(our_peak)}", flush=True)
    own = [sys.executable, os.path.abspath(__file__), "--only-pytorch", *sys.argv[1:]]
    times, peak = measure(own, arguments.threads)
    print(f"PyTorch  {min(times):8.2f} s   peak {shown(peak)}   (runs: {times})")
    if ours:
        print(f"ratio    {ours / min(times):8.3f}   (below 1: ours is faster)")


if __name__ == "__main__":
    main()
