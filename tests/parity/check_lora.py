#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Use LoRAs that mm-train and mm-lora wrote in diffusers, through PEFT, and compare the UNet's output.

    check_lora.py --build BUILD_DIR --fixtures FIXTURES_DIR [--write]

Every layout goes through mm-lora into a PEFT file, which PEFT loads as docs/lora-in-diffusers.md says;
what diffusers computes then must be what it computed with the LoRA's origin (fixtures/make_lora.py). A
LoRA fresh from mm-train and the UNet that mm-lora fuses it into must agree as well, and so must videos
drawn by examples/python/lora_in_diffusers.py and by mm-infer, with the LoRA on from its own timestep up,
everywhere and nowhere. With --write that LoRA and its output become the fixture lora/trained.safetensors,
and the final latents lora/sampled.safetensors, which the tests check without PyTorch. The exit status is
the verdict.
"""
import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from diffusers import UNet3DConditionModel
from peft import get_peft_model_state_dict
from safetensors.torch import load_file, save_file

MODEL, LIMIT = "quickstart-model", 1e-5
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
CLIP, RECIPE = EXAMPLES / "reference.mp4", EXAMPLES / "python" / "lora_in_diffusers.py"
# Of the six steps' timesteps 831, 665, 499, ... the first two have the LoRA on, where it says so itself.
SAMPLING = [
    "--prompt", "a circle", "--width", 40, "--height", 24, "--num-frames", 3, "--num-steps", 6,
    "--guidance-scale", 3,
]  # fmt: skip
RANGES = {"gated": [], "always": ["--min-timestep", 0], "never": ["--min-timestep", 1000]}

sys.path.insert(0, str(RECIPE.parent))
from lora_in_diffusers import add_lora  # noqa: E402


class Check:
    def __init__(self, build, fixtures, work):
        self.tools, self.fixtures, self.work = build / "tools", fixtures, work
        self.lora = fixtures / "lora"
        self.given = load_file(fixtures / "parity" / f"{MODEL}.safetensors")
        self.expected = load_file(self.lora / "outputs.safetensors")
        self.failed = 0
        self.model = work / "model"
        shutil.copytree(fixtures / MODEL, self.model)
        self.load(fixtures / MODEL / "unet").float().save_pretrained(self.model / "unet")

    def load(self, folder):
        return UNet3DConditionModel.from_pretrained(folder).double().eval().requires_grad_(False)

    def run(self, unet):
        given = self.given
        with torch.no_grad():
            return unet(
                given["latents"].double(),
                given["timestep"],
                given["encoder_hidden_states"].double(),
            ).sample

    def through_peft(self, path):
        unet = self.load(self.model / "unet")
        add_lora(unet, path)
        return self.run(unet.double())

    def saved_by_peft(self):
        """What PEFT gives back of ours is what we gave."""
        unet = self.load(self.model / "unet")
        ours = self.lora / "trained.safetensors"
        add_lora(unet, ours)
        back, given = get_peft_model_state_dict(unet), load_file(ours)
        back = {f"unet.{name}": value.float().contiguous() for name, value in back.items()}
        same = back.keys() == given.keys() and all((back[k] == given[k]).all() for k in given)
        save_file(back, self.work / "back.safetensors")
        self.tool("mm-lora", "info", self.work / "back.safetensors", "--model", self.model)
        self.failed += not same
        print(f"{'mm-train to PEFT and back':34} {'equal' if same else 'FAILED'}", flush=True)

    def tool(self, name, *arguments):
        self.command(self.tools / name, *arguments)

    def command(self, *command):
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{command}: exit {done.returncode}\n{done.stderr}")

    def mm_lora(self, command, *arguments):
        out = self.work / f"{command}-{len(list(self.work.iterdir()))}.safetensors"
        self.tool("mm-lora", command, *arguments, out, "--model", self.model)
        return out

    def figure(self, name, have, want):
        error = float((have.double() - want.double()).abs().max() / want.double().abs().max())
        bad = not error <= LIMIT
        self.failed += bad
        print(f"{name:34} {error:8.1e}{' FAILED' if bad else ''}", flush=True)

    def layouts(self):
        for source, output in [
            ("diffusers.safetensors", "with_alpha"),
            ("adapter", "with_alpha"),
            ("kohya.safetensors", "with_alpha"),
            ("plain.safetensors", "without_alpha"),
            ("old.safetensors", "without_alpha"),
            ("wide.safetensors", "wide"),
            ("temporal.pt", "list"),
        ]:
            ours = self.mm_lora("convert", self.lora / source)
            self.figure(f"{source} through PEFT", self.through_peft(ours), self.expected[output])
        wide, other = self.lora / "wide.safetensors", self.lora / "diffusers.safetensors"
        ours = self.mm_lora("merge", f"{wide}:0.5", f"{other}:-0.25")
        self.figure("merged, through PEFT", self.through_peft(ours), self.expected["sum"])
        ours = self.mm_lora("scale", self.mm_lora("scale", wide, "-4"), "-0.25")
        self.figure("scaled and back, through PEFT", self.through_peft(ours), self.expected["wide"])

    def list_through_torch(self):
        """Our .pt, opened by torch and added in the order of the list."""
        named = self.mm_lora("convert", self.lora / "temporal.pt")
        out = self.work / "again.pt"
        self.tool("mm-lora", "convert", named, out, "--model", self.model)
        before = torch.load(self.lora / "temporal.pt", weights_only=True)
        after = torch.load(out, weights_only=True)
        before, after = (torch.cat([m.detach().flatten() for m in x]) for x in (before, after))
        self.figure(".pt to PEFT to .pt", after, before)

    def trained(self, write):
        self.tool(
            "mm-train", "--model", self.model, "--video", CLIP, "--prompt", "a circle",
            "--output-dir", self.work / "run", "--width", 32, "--height", 32, "--num-frames", 3,
            "--rank", 1, "--steps", 3, "--learning-rate", 0.05, "--validation-every", 0, "--seed", 1,
        )  # fmt: skip
        lora = self.work / "run" / "checkpoint-3" / "lora.safetensors"
        want = self.through_peft(lora)
        base = self.run(self.load(self.model / "unet"))
        moved = float((want - base).abs().max() / base.abs().max())
        print(f"{'mm-train moves the output by':34} {moved:8.1e}")
        self.tool("mm-lora", "fuse", "--model", self.model, lora, self.work / "fused")
        self.figure("mm-train, PEFT against fused", self.run(self.load(self.work / "fused")), want)
        if write:
            shutil.copy(lora, self.lora / "trained.safetensors")
            stored = {"trained": want.float().contiguous()}
            save_file(stored, self.lora / "trained-output.safetensors")

    def drawn(self, write):
        """diffusers in f64 by the recipe, mm-infer in f32."""
        generator = torch.Generator().manual_seed(7)
        stored = {"init_latents": torch.randn((1, 4, 3, 6, 10), generator=generator)}
        start, out = self.work / "start.safetensors", self.work / "final.safetensors"
        save_file({"latents": stored["init_latents"]}, start)
        for name, more in RANGES.items():
            common = [
                "--model", self.model, "--lora", self.lora / "trained.safetensors", *SAMPLING, *more,
                "--init-latents", start, "--save-latents", out,
            ]  # fmt: skip
            self.command(sys.executable, RECIPE, *common, "--precision", "f64")
            stored[name] = load_file(out)["latents"]
            out.unlink()
            self.tool(
                "mm-infer", *common, "--precision", "f32", "--steps-only", "--output-dir", self.work / name
            )
            self.figure(f"drawn, {name}", load_file(out)["latents"], stored[name])
            out.unlink()
        if write:
            save_file(stored, self.lora / "sampled.safetensors")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--fixtures", type=Path, required=True)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        check = Check(options.build.resolve(), options.fixtures.resolve(), Path(work))
        check.layouts()
        check.list_through_torch()
        check.trained(options.write)
        check.saved_by_peft()
        check.drawn(options.write)
    sys.exit(1 if check.failed else 0)


main()
