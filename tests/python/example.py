# SPDX-License-Identifier: BSD-2-Clause
"""Runs examples/python/motion_maps.py on the demo model, with few steps, and looks at what it leaves.

usage: example.py SOURCE_DIR"""
import json
import pathlib
import re
import struct
import subprocess
import sys
import tempfile

source = pathlib.Path(sys.argv[1])


def tensor_shapes(path):
    content = path.read_bytes()
    header = json.loads(content[8:8 + struct.unpack("<Q", content[:8])[0]])
    return {name: entry["shape"] for name, entry in header.items() if name != "__metadata__"}


with tempfile.TemporaryDirectory() as folder:
    output = pathlib.Path(folder, "output")
    done = subprocess.run(
        [sys.executable, source / "examples" / "python" / "motion_maps.py", "--steps", "2",
         "--sampling-steps", "2", "--output", output],
        cwd=folder, text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    shapes = tensor_shapes(output / "maps.safetensors")
    assert shapes["ca"][0] == 16 and shapes["ca"][3] == 77, shapes
    assert any(name.endswith("lora_A.weight") for name in tensor_shapes(output / "lora.safetensors"))
    for name in ("with", "without"):
        assert (output / f"{name}-lora.gif").read_bytes()[:3] == b"GIF"
losses = re.search(r"^losses: (.*)$", done.stdout, re.M).group(1).split()
assert len(losses) == 2 and all(float(loss) > 0 for loss in losses), done.stdout
words = re.findall(r"^ +(\S+) \d+,\d+ ", done.stdout, re.M)
assert "circle" in words and "background" in words, done.stdout
change = re.search(r"moves the latents by (.*)%", done.stdout).group(1)
assert float(change) > 0, done.stdout
print(f"words {words}, losses {losses}, latents moved by {change} %")
