#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Time a training step and a sampling step of the tools and of PyTorch in float32, in turn.

    steps_vs_pytorch.py --build DIR --model DIR [--width 64 --height 64 --frames 16]
                        [--threads 1] [--rounds 3] [--steps 6] [--part training|sampling]
                        [--cpu-time]

PyTorch's side is tests/parity/reference.py on diffusers' networks: the LoRA beside its layers with
dropout, no gradient checkpointing, feature passes that stop after the last map, AdamW; sampling
with both branches of the guidance in one batch, once with the LoRA beside its layers, as the
released code samples, and once merged into them. Prints the median of all steps but the first of
each round; with --cpu-time what the processor spent on a step, which other programs on the same
core disturb less: for one thread only.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "parity"))

import reference as R

PROMPT, VIDEO, RANK, DROPOUT = "a red circle", ROOT / "examples" / "reference.mp4", 32, 0.1


class DroppingLinear(R.LoraLinear):
    def forward(self, x):
        y = self.base(x)
        if self.scale == 0:
            return y
        change = F.linear(F.linear(x, self.down), self.up)
        return y + (F.dropout(change, DROPOUT) if torch.is_grad_enabled() else change)


class PyTorch:
    def __init__(self, arguments):
        self.clock = time.process_time if arguments.cpu_time else time.perf_counter
        torch.set_num_threads(arguments.threads)
        R.LoraLinear = DroppingLinear
        self.arguments = arguments
        self.model = R.Model(arguments.model, torch.float32)
        factor = 2 ** (len(self.model.vae.config.block_out_channels) - 1)
        self.shape = (1, 4, arguments.frames, arguments.height // factor, arguments.width // factor)
        self.generator = torch.Generator().manual_seed(0)
        self.tensors = R.random_lora(self.model.unet, RANK, self.generator, up_scale=0.01)
        self.context = self.model.encode_text(PROMPT)

    def normal(self):
        return torch.randn(self.shape, generator=self.generator)

    def training(self):
        lora = R.Lora(self.model, self.tensors)
        optimizer = torch.optim.AdamW(lora.parameters(), lr=5e-4, weight_decay=1e-2)
        latents, seconds = self.normal(), []
        for _ in range(self.arguments.steps + 1):
            start = self.clock()
            timestep = int(torch.randint(500, 1000, (1,), generator=self.generator))
            optimizer.zero_grad()
            seen = R.training_loss(
                self.model, lora, R.Settings(), latents, self.normal(), timestep, self.context
            )
            seen["loss"].backward()
            optimizer.step()
            seconds.append(self.clock() - start)
        lora.remove()
        return seconds[1:]

    def sampling(self, merged):
        lora = None if merged else R.Lora(self.model, self.tensors)
        latents, seconds = self.normal(), []
        both = torch.cat([self.context, self.context])
        with torch.inference_mode():
            for _ in range(self.arguments.steps + 1):
                start = self.clock()
                output = self.model.predict(torch.cat([latents, latents]), 700, both)
                unguided, guided = output.chunk(2)
                output = unguided + 12.0 * (guided - unguided)
                latents = self.model.schedule.step(output, latents, 700, 690)
                seconds.append(self.clock() - start)
        if lora:
            lora.remove()
        return seconds[1:]


class Tools:
    def __init__(self, arguments, work):
        self.arguments, self.work, self.runs = arguments, work, 0
        self.common = ["--model", arguments.model, "--prompt", PROMPT, "--threads", arguments.threads]
        self.common += ["--width", arguments.width, "--height", arguments.height]
        self.common += ["--num-frames", arguments.frames, "--json", "--precision", "f32"]

    def run(self, tool, option, *options):
        steps = self.arguments.steps + 1
        seconds, spent = self.run_once(tool, option, steps, *options)
        if not self.arguments.cpu_time:
            return seconds[1:]
        first = self.run_once(tool, option, 1, *options)[1]
        return [(spent - first) / (steps - 1)]

    def run_once(self, tool, *options):
        """Seconds of each step on the wall, and what the processor spent on all together."""
        self.runs += 1
        out = self.work / f"run-{self.runs}"
        command = [self.arguments.build / "tools" / tool, *self.common, *options]
        command += ["--output-dir", out]
        before = os.times()
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
        after = os.times()
        if done.returncode:
            sys.exit(f"{tool} ended with {done.returncode}: {done.stderr}")
        events = [json.loads(line) for line in done.stdout.splitlines()]
        self.latest = out
        spent = after.children_user + after.children_system
        spent -= before.children_user + before.children_system
        return [e["seconds"] for e in events if e["event"] == "step"], spent

    def training(self):
        return self.run(
            "mm-train", "--steps", "--video", VIDEO, "--checkpoint-every", 0, "--validation-every", 0,
            "--rank", RANK, "--lora-dropout", DROPOUT, "--seed", 1,
        )  # fmt: skip

    def sampling(self):
        lora = self.work / "lora"
        if not lora.exists():
            self.training()
            self.latest.rename(lora)
        (checkpoint,) = lora.glob("checkpoint-*")
        return self.run(
            "mm-infer", "--num-steps", "--lora", checkpoint, "--min-timestep", 0, "--steps-only",
            "--guidance-scale", 12, "--seed", 1,
        )  # fmt: skip


def compare(title, rounds, ours, **theirs):
    mine, other = [], {name: [] for name in theirs}
    for _ in range(rounds):
        mine += ours()
        for name, run in theirs.items():
            other[name] += run()
    median = statistics.median(mine)
    print(f"{title:10} ours {median:8.4f} s  (of {min(mine):.4f} to {max(mine):.4f})")
    for name, seconds in other.items():
        theirs_median = statistics.median(seconds)
        spread = f"(of {min(seconds):.4f} to {max(seconds):.4f})"
        ratio = theirs_median / median
        print(f"{title:10} {name} {theirs_median:8.4f} s  {spread}  {ratio:.2f} times ours", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--height", type=int, default=64)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--part", choices=["training", "sampling"])
    parser.add_argument("--cpu-time", action="store_true")
    arguments = parser.parse_args()
    torch_side = PyTorch(arguments)
    with tempfile.TemporaryDirectory() as work:
        tools = Tools(arguments, Path(work))
        if arguments.part != "sampling":
            compare("training", arguments.rounds, tools.training, PyTorch=torch_side.training)
        if arguments.part != "training":
            names = {"PyTorch": lambda: torch_side.sampling(False)}
            names["PyTorch, merged"] = lambda: torch_side.sampling(True)
            compare("sampling", arguments.rounds, tools.sampling, **names)


if __name__ == "__main__":
    main()
