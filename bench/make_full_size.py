#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Make a random model of ZeroScope v2's full size in diffusers' layout, for benchmarks.

    make_full_size.py OUT_DIR [--storage safetensors|bin]

About 7.3 GB of float32. With safetensors one tensor at a time is in memory.
"""
import argparse
import json
import math
import string
import sys
from pathlib import Path

import torch
from diffusers import DDIMScheduler
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "fixtures"))
import make_models  # noqa: E402

VOCABULARY = 49408
FULL = {
    "unet": {
        "block_out_channels": [320, 640, 1280, 1280],
        "down_block_types": [make_models.ATTENTION] * 3 + [make_models.PLAIN],
        "layers_per_block": 2,
        "attention_head_dim": 64,
        "norm_num_groups": 32,
        "sample_size": 32,
    },
    "vae": {
        "block_out_channels": [128, 256, 512, 512],
        "layers_per_block": 2,
        "norm_num_groups": 32,
    },
    "text": {"hidden_size": 1024, "intermediate_size": 4096, "heads": 16, "layers": 23},
    "legacy_text_config": True,
}
STEMS = {
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
}


def merges():
    """Enough pairs of letters to fill the vocabulary; the real ones are not needed."""
    letters = string.ascii_lowercase
    twos = [(a, b) for a in letters for b in letters]
    found = twos + [(a, b + "</w>") for a, b in twos]
    found += [(a + b, c) for a, b in twos for c in letters]
    found += [(a + b, c + "</w>") for a, b in twos for c in letters]
    found += [(a + b, c + d) for a, b in twos for c, d in twos]
    return found[: VOCABULARY - 2 * 256 - 2]


def stored_name(component, name):
    prefixed = component == "text_encoder" and not name.startswith("text_model.")
    return f"text_model.{name}" if prefixed else name


def write_tensors(path, shapes, generator):
    """A safetensors file, written one random tensor after the other."""
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in shapes.items():
        begin, end = end, end + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, shape in shapes.items():
            file.write(make_models.random_value(name, shape, generator).numpy().tobytes())


def make_component(folder, component, model, generator, storage):
    folder.mkdir(parents=True)
    if component == "text_encoder":
        model.config.save_pretrained(folder)
    else:
        model.save_config(folder)
    shapes = {stored_name(component, k): tuple(p.shape) for k, p in model.named_parameters()}
    path = folder / f"{STEMS[component]}.safetensors"
    write_tensors(path, shapes, generator)
    if storage == "bin":
        stem = "pytorch_model" if component == "text_encoder" else STEMS[component]
        torch.save(load_file(path), folder / f"{stem}.bin")
        path.unlink()
    print(f"{folder}: {sum(map(math.prod, shapes.values())) / 1e6:.1f} M parameters", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--storage", choices=("safetensors", "bin"), default="safetensors")
    arguments = parser.parse_args()
    spec = make_models.merged(make_models.BASE, FULL)
    generator = make_models.seeded("full size")
    make_models.make_tokenizer(arguments.out_dir / "tokenizer", "!", merges())
    with torch.device("meta"):
        networks = {
            "text_encoder": make_models.text_encoder(spec, VOCABULARY),
            "vae": make_models.autoencoder(spec),
            "unet": make_models.video_unet(spec),
        }
    for component, model in networks.items():
        folder = arguments.out_dir / component
        make_component(folder, component, model, generator, arguments.storage)
    DDIMScheduler(**spec["scheduler"]).save_pretrained(arguments.out_dir / "scheduler")
    make_models.save_index(arguments.out_dir)


if __name__ == "__main__":
    main()
