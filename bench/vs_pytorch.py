#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Time our programs and PyTorch on the same model, in turn, with the same threads; print ratios.

    vs_pytorch.py --build DIR --model DIR [--part forward step load] [--precision f32 bf16]
                  [--budgets 16 7 5] [--frames 16] [--side 48] [--rank 32] [--threads N]
                  [--rounds 1] [--runs 2] [--work DIR] [--json FILE]

PyTorch's side is pytorch_side.py: diffusers' UNet, the training step as the method's released code
does it, torch.load. Ours are mm-train and the programs in bench/ of a build with -Dbenchmarks=true.
Each round runs both sides, each in a process of its own; of all runs after a process's first the
least counts, and of a step of PyTorch, which takes minutes at full size, the only one. --budgets
are those of mm-train in GiB. Peaks are resident high-water marks, loading included.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

SIDE = Path(__file__).with_name("pytorch_side.py")
VIDEO = Path(__file__).resolve().parents[1] / "examples" / "reference.mp4"
GIB = 1 << 30


def pixels_of_latent(model):
    config = json.loads((Path(model) / "vae" / "config.json").read_text())
    return 2 ** (len(config["block_out_channels"]) - 1)


def run(command, threads):
    """Standard output and the resident high-water mark of one process."""
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads))
    child = subprocess.Popen(
        [str(c) for c in command], stdout=subprocess.PIPE, text=True, env=environment
    )
    text = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"{command[0]} ended with {child.returncode}")
    return text, usage.ru_maxrss * 1024


class Bench:
    def __init__(self, arguments):
        self.arguments, self.rows = arguments, []

    def common(self):
        a = self.arguments
        return ["--model", a.model, "--threads", a.threads, "--frames", a.frames, "--side", a.side]

    def theirs(self, part, *options):
        command = [sys.executable, SIDE, part, *self.common(), "--work", self.arguments.work]
        text, peak = run([*command, *options], self.arguments.threads)
        return json.loads(text.splitlines()[-1])["seconds"], peak

    def ours(self, program, pattern, *options):
        command = [self.arguments.build / "bench" / program, self.arguments.model, *options]
        text, peak = run(command, self.arguments.threads)
        return [float(s) for s in re.findall(pattern, text, re.MULTILINE)], peak

    def sized(self, *options):
        a = self.arguments
        size = f"{a.side}x{a.side}"
        return ["--frames", a.frames, "--size", size, "--threads", a.threads, *options]

    def compare(self, what, ours, theirs):
        """`ours`: name to a measurement; all in turn, `rounds` times."""
        seconds, peaks = {}, {}
        sides = {**ours, "PyTorch": theirs}
        for _ in range(self.arguments.rounds):
            for name, measure in sides.items():
                got, peak = measure()
                seconds[name] = min([*got, seconds.get(name, got[0])])
                peaks[name] = max(peak, peaks.get(name, 0))
        for name in sides:
            ratio = seconds["PyTorch"] / seconds[name]
            row = dict(what=what, side=name, seconds=seconds[name], peak_bytes=peaks[name])
            self.rows.append(dict(row, times_as_fast=ratio))
            gib = peaks[name] / GIB
            print(f"{what:18} {name:16} {seconds[name]:9.3f} s {gib:7.2f} GiB {ratio:6.2f}", flush=True)

    def forward(self, precision):
        options = self.sized("--runs", self.arguments.runs + 1)
        if precision != "f32":  # the program's default
            options += ["--precision", precision]
        self.compare(
            f"forward {precision}",
            {"ours": lambda: self.ours("unet_forward", r"^run (?!1:)\d+: ([\d.]+) s", *options)},
            lambda: self.theirs("forward", "--precision", precision, "--runs", self.arguments.runs),
        )

    def train(self, precision, budget):
        a = self.arguments
        pixels = a.side * pixels_of_latent(a.model)
        with tempfile.TemporaryDirectory(dir=a.work) as work:
            command = [a.build / "tools" / "mm-train", "--model", a.model, "--video", VIDEO]
            command += ["--prompt", "a red circle", "--num-frames", a.frames, "--threads", a.threads]
            command += ["--width", pixels, "--height", pixels, "--rank", a.rank]
            command += ["--precision", precision, "--memory-budget", f"{budget:g}G"]
            command += ["--steps", a.runs + 1, "--checkpoint-every", 0, "--validation-every", 0]
            text, peak = run([*command, "--json", "--output-dir", Path(work) / "run"], a.threads)
        events = [json.loads(line) for line in text.splitlines()]
        return [e["seconds"] for e in events if e["event"] == "step"][1:], peak

    def step(self, precision):
        rank = self.arguments.rank
        self.compare(
            f"step {precision}",
            {
                f"ours, {budget:g} GiB": lambda budget=budget: self.train(precision, budget)
                for budget in self.arguments.budgets
            },
            lambda: self.theirs("step", "--precision", precision, "--rank", rank),
        )

    def load(self, precision):
        options = ["--precision", precision, "--runs", self.arguments.runs + 1]

        def measured():
            command = [self.arguments.build / "bench" / "load_model", self.arguments.model, *options]
            text, peak = run(command, self.arguments.threads)
            return json.loads(text)["seconds"][1:], peak

        self.compare(f"load {precision}", {"ours": measured}, lambda: self.theirs("load"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parts = ["forward", "step", "load"]
    parser.add_argument("--part", nargs="+", choices=parts, default=parts)
    parser.add_argument("--precision", nargs="+", choices=["f32", "bf16"], default=["f32"])
    parser.add_argument("--budgets", nargs="+", type=float, default=[16.0])
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--side", type=int, default=48, help="of the latents")
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--runs", type=int, default=1, help="of a process, after a first one of ours")
    parser.add_argument("--work", default=".", help="folder for an archive of the model")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    bench = Bench(arguments)
    print(f"{'':18} {'':16} {'time':>11} {'peak':>11} {'times as fast':>6}")
    for part in arguments.part:
        for precision in arguments.precision:
            getattr(bench, part)(precision)
    if arguments.json:
        arguments.json.write_text(json.dumps(bench.rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
