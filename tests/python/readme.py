# SPDX-License-Identifier: BSD-2-Clause
"""Runs the program in the Python package's README as it stands there, in a scratch folder.

usage: readme.py SOURCE_DIR"""
import pathlib
import shutil
import subprocess
import sys
import tempfile

source = pathlib.Path(sys.argv[1])
sys.path.insert(0, str(source / "tests" / "docs"))
from documents import blocks_of  # noqa: E402

# In tqdm's place, which need not be installed.
BARS = '''\
class tqdm:
    def __init__(self, total, desc):
        print("bar", desc, total)
    def set_postfix(self, **values):
        self.values = values
    def update(self, n):
        return None
    def close(self):
        pass
'''

(block,) = [b for b in blocks_of(source, pathlib.Path("bindings/python/README.md"))
            if b.language == "python"]  # fmt: skip
with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    shutil.copytree(source / "models" / "demo", folder / "models" / "demo")
    shutil.copy(source / "examples" / "reference.mp4", folder)
    (folder / "tqdm.py").write_text(BARS)
    (folder / "page.py").write_text("\n".join(block.lines))
    done = subprocess.run([sys.executable, "page.py"], cwd=folder, text=True, capture_output=True,
                          check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "bar training 20" in done.stdout, done.stdout
    assert b"lora_A" in (folder / "circle.safetensors").read_bytes()
    assert (folder / "square.mp4").read_bytes()[4:8] == b"ftyp"
