#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Use LoRAs that mm-train and mm-lora wrote in diffusers, through PEFT, and compare the UNet's output.

    check_lora.py --build BUILD_DIR --fixtures FIXTURES_DIR [--write]

Every layout goes through mm-lora into a PEFT file, which PEFT loads as docs/file-formats.md says; what
diffusers computes then must be what it computed with the LoRA's origin (fixtures/make_lora.py). A LoRA
fresh from mm-train and the UNet that mm-lora fuses it into must agree as well. With --write that LoRA
and its output become the fixture lora/trained.safetensors, which the tests check without PyTorch.
The exit status is the verdict.
"""
import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from diffusers import UNet3DConditionModel
from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict
from safetensors import safe_open
from safetensors.torch import load_file, save_file

MODEL, LIMIT = "quickstart-model", 1e-5
CLIP = Path(__file__).resolve().parents[2] / "examples" / "reference.mp4"


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
        with safe_open(path, "pt") as file:
            config = json.loads(file.metadata()["lora_adapter_metadata"])
            tensors = {name.removeprefix("unet."): file.get_tensor(name) for name in file.keys()}
        config = LoraConfig(**{key.removeprefix("unet."): value for key, value in config.items()})
        unet = self.load(self.model / "unet")
        inject_adapter_in_model(config, unet)
        result = set_peft_model_state_dict(unet, tensors)
        assert not result.unexpected_keys, result.unexpected_keys
        missing = [key for key in result.missing_keys if "lora_" in key]
        assert not missing, missing
        return self.run(unet.double())

    def tool(self, name, *arguments):
        command = [self.tools / name, *arguments]
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
    sys.exit(1 if check.failed else 0)


main()
