#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Time the networks of an evaluation, at their full sizes with random weights, in mm-eval and in
PyTorch (float32), one after the other.

    metrics_vs_pytorch.py --build DIR [--part clip|reward|tracker]... [--frames 16] [--grid 50]
                          [--threads 1] [--rounds 1]

Times are what the processor spent on a video, pictures' decoding (ours alone) and scaling included:
of mm-eval between the events of its --json, so that loading does not count. CLIP and ImageReward
score the video twice, the second time counts; the tracker follows it once as the reference and once
as the video, and half of that counts. The networks on PyTorch's side are those that the fixtures are
made with (tests/fixtures), and transformers' CLIP.
Prints one line a round: what, seconds of ours, of PyTorch, and their ratio.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy
import torch
from PIL import Image
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parents[1]
FIXTURES = ROOT / "tests" / "fixtures"
sys.path.insert(0, str(FIXTURES))

SIDE = 384
TRACKER = dict(seed=1, width=512, height=384, stem=64, stages=(64, 96, 128, 128), fused=256,
               features=128, radius=3, correlation_hidden=384, correlation=256, window=60,
               hidden=384, mlp=1536, virtual=64, depth=3)
VISION = {"width": 1024, "heads": 16, "inner": 4096, "layers": 24, "image": 224, "patch": 16}
BERT = {"vocab_size": 30524, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
        "intermediate_size": 3072, "max_position_embeddings": 512, "layer_norm_eps": 1e-12,
        "hidden_act": "gelu", "encoder_width": 1024}
PROMPT = "a dog"


def pixels(frames):
    mean = torch.tensor([.48145466, .4578275, .40821073]).view(3, 1, 1)
    spread = torch.tensor([.26862954, .26130258, .27577711]).view(3, 1, 1)
    pictures = [numpy.asarray(Image.fromarray(f).resize((224, 224), Image.BICUBIC)) for f in frames]
    batch = torch.from_numpy(numpy.stack(pictures)).permute(0, 3, 1, 2).float() / 255
    return (batch - mean) / spread


class Clip:
    videos, passes = 2, 1  # what mm-eval is given, and how often the last runs the network

    def __init__(self, room, arguments):
        from transformers import CLIPConfig, CLIPModel
        self.model = CLIPModel(CLIPConfig()).eval()
        self.model.save_pretrained(room / "clip")
        for name in ("vocab.json", "merges.txt"):
            shutil.copy(FIXTURES / "evaluation/clip" / name, room / "clip")
        self.command = ["clip-scores", "--clip-model", room / "clip", "--prompt", PROMPT]

    def run(self, frames):
        self.model.get_image_features(pixel_values=pixels(frames))


class Reward:
    videos, passes = 2, 1

    def __init__(self, room, arguments):
        import make_evaluation as made
        folder = room / "reward"
        folder.mkdir()
        self.model = made.ImageReward(VISION, BERT, [1024, 128, 64, 16, 1]).eval()
        save_file(self.model.state_dict(), folder / "ImageReward.safetensors")
        (folder / "med_config.json").write_text(json.dumps(BERT))
        shutil.copy(FIXTURES / "evaluation/image-reward/vocab.txt", folder)
        self.command = ["image-reward", "--image-reward-model", folder, "--prompt", PROMPT]

    def run(self, frames):
        self.model(pixels(frames), torch.tensor([[101, 1037, 3899, 102]]))


class Tracker:
    videos, passes = 1, 2

    def __init__(self, room, arguments):
        torch.Tensor.double = torch.Tensor.float  # the fixtures are made in double precision
        import make_tracker as made
        settings = dict(TRACKER, frames=arguments.frames, grid=arguments.grid)
        self.network = made.Network(settings)
        path = room / "tracker.safetensors"
        save_file({name: value.contiguous() for name, value in self.network.w.items()}, path)
        self.command = ["motion-discrepancy", "--tracker-model", path, "--reference",
                        room / "video.mkv", "--grid", arguments.grid]

    def run(self, frames):
        for _ in self.network.track(torch.from_numpy(frames)):
            pass


PARTS = {"clip": Clip, "reward": Reward, "tracker": Tracker}


def make_video(path, frames):
    subprocess.run(["ffmpeg", "-y", "-loglevel", "error", "-f", "lavfi", "-i",
                    f"testsrc2=size={SIDE}x{SIDE}:rate=8", "-frames:v", str(frames), "-c:v", "ffv1",
                    "-pix_fmt", "gbrp", str(path)], check=True)
    raw = subprocess.run(["ffmpeg", "-loglevel", "error", "-i", str(path), "-f", "rawvideo",
                          "-pix_fmt", "rgb24", "-"], check=True, stdout=subprocess.PIPE).stdout
    return numpy.frombuffer(raw, numpy.uint8).reshape(frames, SIDE, SIDE, 3).copy()


def processor_time(process):
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def spent(arguments, part, video):
    """Seconds of the last video, a run of the network."""
    command = [*part.command, *[video] * part.videos, "--threads", arguments.threads, "--json",
               "--quiet"]
    environment = dict(os.environ, OMP_NUM_THREADS=str(arguments.threads))
    marks = []
    with subprocess.Popen([Path(arguments.build) / "tools/mm-eval", *map(str, command)],
                          env=environment, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if json.loads(line)["event"] in ("loaded", "step"):
                marks.append(processor_time(process))
    if process.returncode:
        sys.exit("mm-eval failed")
    return (marks[-1] - marks[-2]) / part.passes


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--part", action="append", choices=list(PARTS))
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--grid", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    for name in arguments.part or PARTS:
        with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
            room = Path(folder)
            frames = make_video(room / "video.mkv", arguments.frames)
            part = PARTS[name](room, arguments)
            part.run(frames[:2])  # once warm, as ours is
            for _ in range(arguments.rounds):
                ours = spent(arguments, part, room / "video.mkv")
                start = time.process_time()
                part.run(frames)
                theirs = time.process_time() - start
                print(f"{name} {ours:.2f} s {theirs:.2f} s ratio {ours / theirs:.2f}", flush=True)


if __name__ == "__main__":
    main()
