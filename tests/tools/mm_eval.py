# SPDX-License-Identifier: BSD-2-Clause
"""What the tests of mm-eval share."""
import json
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

TOOLS = pathlib.Path(sys.argv[1]).resolve()
EVALUATION = pathlib.Path(sys.argv[2]).resolve() / "evaluation"


def run(command, *arguments, code=0):
    """Output that is not UTF-8 is for tests to find, not to stumble over."""
    done = subprocess.run([str(TOOLS / "mm-eval"), command, *map(str, arguments)],
                          capture_output=True, encoding="utf-8", errors="replace",
                          timeout=120, check=False)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done


def events(done, kind=None):
    found = map(json.loads, done.stdout.splitlines())
    return [event for event in found if kind in (None, event["event"])]


def spoil_clip_model(folder):
    """A copy of the CLIP model whose last number is a NaN."""
    shutil.copytree(EVALUATION / "clip", folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-2] + b"\x00\x7e")
    return folder


def spoil_reward_model(folder):
    """A copy of the ImageReward model, of whose last tensor every number is a NaN."""
    shutil.copytree(EVALUATION / "image-reward", folder)
    with zipfile.ZipFile(folder / "ImageReward.pt") as archive:
        parts = {info.filename: archive.read(info) for info in archive.infolist()}
    tensors = [name for name in parts if re.search(r"/data/\d+$", name)]
    last = max(tensors, key=lambda name: int(name.rsplit("/", 1)[1]))
    parts[last] = b"\xff" * len(parts[last])
    with zipfile.ZipFile(folder / "ImageReward.pt", "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return folder
