# SPDX-License-Identifier: BSD-2-Clause
"""mm-lora: what it shows, converts, adds up, scales and fuses, and what it refuses.

usage: lora.py TOOLS_DIR FIXTURES_DIR"""
import json
import math
import pathlib
import struct
import subprocess
import sys
import tempfile
import unittest

TOOLS, FIXTURES = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
MODEL, OTHER = FIXTURES / "quickstart-model", FIXTURES / "tiny-v-model"
LORA = FIXTURES / "lora"


def read(path):
    """Metadata, and bytes by name and type; f32 as tuples of numbers."""
    data = pathlib.Path(path).read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    fields = json.loads(data[8:8 + length])
    metadata, body = fields.pop("__metadata__", {}), data[8 + length:]
    return metadata, {name: (entry["dtype"], entry["shape"], body[slice(*entry["data_offsets"])])
                      for name, entry in fields.items()}


def write(path, tensors, metadata):
    header, body = {"__metadata__": metadata}, b""
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape,
                        "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return path


def numbers(tensor):
    dtype, shape, data = tensor
    count = math.prod(shape)
    return struct.unpack(f"<{count}{'f' if dtype == 'F32' else 'e'}", data)


def change(path, layer):
    """up * down of a file whose alphas are the ranks, as a list."""
    tensors = read(path)[1]
    down, up = (tensors[f"unet.{layer}.lora_{half}.weight"] for half in "AB")
    rank, inputs = down[1]
    a, b = numbers(down), numbers(up)
    return [sum(b[o * rank + k] * a[k * inputs + i] for k in range(rank))
            for o in range(up[1][0]) for i in range(inputs)]


QUERY = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"


class Lora(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.path = pathlib.Path(self.directory.name)

    def tearDown(self):
        self.directory.cleanup()

    def run_tool(self, *arguments, code=0, says=""):
        done = subprocess.run([TOOLS / "mm-lora", *map(str, arguments)], capture_output=True,
                              text=True, cwd=self.path, timeout=120, check=False)
        self.assertEqual(done.returncode, code, (arguments, done.stdout, done.stderr))
        self.assertIn(says, done.stdout + done.stderr)
        return done

    def fails(self, code, *arguments, says):
        done = self.run_tool(*arguments, code=code, says=says)
        self.assertIn(": error:", done.stderr)
        return done

    def events(self, *arguments):
        lines = self.run_tool(*arguments, "--json").stdout.splitlines()
        return [json.loads(line) for line in lines]

    def test_info_without_a_model(self):
        first, *layers = self.events("info", LORA / "diffusers.safetensors")
        self.assertEqual(first["event"], "lora")
        self.assertEqual((first["format"], first["modules"], first["rank"], first["dtype"]),
                         ("peft", 7, 4, "f32"))
        self.assertEqual((first["tensors"], first["recognised"]), (14, 14))
        self.assertEqual(json.loads(first["metadata"]["lora_adapter_metadata"])["unet.lora_alpha"],
                         3)
        self.assertEqual(len(layers), 7)
        query = next(layer for layer in layers if layer["path"] == QUERY)
        self.assertEqual((query["rank"], query["alpha"], query["in"], query["out"]), (2, 3, 8, 8))
        plain = change(LORA / "plain.safetensors", QUERY)
        want = 3 / 2 * math.sqrt(sum(x * x for x in plain))
        self.assertAlmostEqual(query["norm"], want, delta=1e-5 * want)

    def test_info_of_every_layout(self):
        for name, kind in [("kohya.safetensors", "kohya"), ("old.safetensors", "diffusers"),
                           ("adapter", "peft"), ("temporal.pt", "pt")]:
            self.assertIn(f": {kind}, ", self.run_tool("info", LORA / name).stdout)
        self.run_tool("info", LORA / "temporal.pt", says="--model gives them")
        text = self.run_tool("info", LORA / "temporal.pt", "--model", MODEL).stdout
        self.assertIn("220 of 220 tensors applied", text)
        self.assertIn("transformer_in.transformer_blocks.0.attn1.to_q", text)

    def test_info_with_a_model_counts_what_applies(self):
        metadata, tensors = read(LORA / "plain.safetensors")
        for half, shape in [("A", [2, 8]), ("B", [8, 2])]:
            tensors[f"unet.nowhere.to_q.lora_{half}.weight"] = ("F32", shape, bytes(64))
        file = write(self.path / "more.safetensors", tensors, metadata)
        done = self.run_tool("info", file, "--model", MODEL, says="14 of 16 tensors applied")
        self.assertIn("14 of 16", done.stderr)
        self.assertEqual(self.events("info", file, "--model", MODEL)[0]["applied"], 14)
        self.assertIn("16 of 16 tensors recognised", self.run_tool("info", file).stdout)
        none = {name: value for name, value in tensors.items() if "nowhere" in name}
        file = write(self.path / "none.safetensors", none, metadata)
        self.fails(3, "info", file, "--model", MODEL, says="0 of 2 tensors applied")
        self.fails(3, "info", LORA / "plain.safetensors", "--model", OTHER, says="another model")

    def test_convert(self):
        files = ["one.safetensors", "two.safetensors", "three.safetensors"]
        source, formats = LORA / "diffusers.safetensors", ["peft", "kohya", "peft"]
        for name, form in zip(files, formats):
            done = self.run_tool("convert", source, name, "--to", form)
            self.assertEqual(done.stdout, name + "\n")
            source = name
        self.assertEqual((self.path / files[0]).read_bytes(), (self.path / files[2]).read_bytes())
        kept, ours = read(LORA / "diffusers.safetensors")[1], read(self.path / files[2])[1]
        self.assertEqual(kept, ours)
        self.run_tool("convert", LORA / "temporal.pt", "named.safetensors", "--to", "peft",
                      "--model", MODEL)
        self.run_tool("convert", "named.safetensors", "back.pt", "--model", MODEL)
        self.assertIn("220 of 220", self.run_tool("info", "back.pt", "--model", MODEL).stdout)
        event = self.events("convert", LORA / "plain.safetensors", "j.safetensors", "--to", "kohya")
        self.assertEqual(event, [{"event": "output", "path": "j.safetensors"}])

    def test_merge(self):
        plain = LORA / "plain.safetensors"
        self.run_tool("merge", f"{plain}:0.5", f"{plain}:-2", LORA / "wide.safetensors",
                      "sum.safetensors")
        self.run_tool("convert", LORA / "wide.safetensors", "w.safetensors")
        self.run_tool("scale", "w.safetensors", 1, "w1.safetensors")
        ours = change(self.path / "sum.safetensors", QUERY)
        want = [-1.5 * x + y for x, y in zip(change(plain, QUERY),
                                             change(self.path / "w1.safetensors", QUERY))]
        self.assertLess(max(abs(x - y) for x, y in zip(ours, want)), 1e-6)
        self.assertEqual(read(self.path / "sum.safetensors")[1][f"unet.{QUERY}.lora_A.weight"][1],
                         [7, 8])
        # A layer that one of them has alone, unweighted, keeps type and bytes.
        name = "unet.conv_in.lora_A.weight"
        self.assertEqual(read(LORA / "wide.safetensors")[1][name],
                         read(self.path / "sum.safetensors")[1][name])

    def test_merge_keeps_what_all_say(self):
        _, tensors = read(LORA / "plain.safetensors")
        for name, timestep, prompt in [("a", "500", "a dog"), ("b", "300", "a dog")]:
            write(self.path / f"{name}.safetensors", tensors,
                  {"mm_min_timestep": timestep, "mm_prompt": prompt, "mm_seed": name})
        self.run_tool("merge", "a.safetensors", "b.safetensors", "ab.safetensors")
        metadata, _ = read(self.path / "ab.safetensors")
        self.assertEqual(metadata["mm_min_timestep"], "300")
        self.assertEqual(metadata["mm_prompt"], "a dog")
        self.assertNotIn("mm_seed", metadata)

    def test_scale(self):
        plain = LORA / "plain.safetensors"
        self.run_tool("scale", plain, "-0.5", "half.safetensors")
        ours, want = change(self.path / "half.safetensors", QUERY), change(plain, QUERY)
        self.assertLess(max(abs(x + 0.5 * y) for x, y in zip(ours, want)), 1e-6)
        self.fails(2, "scale", plain, "much", "x.safetensors", says="no number")
        self.fails(2, "scale", plain, "nan", "x.safetensors", says="no number")
        self.fails(2, "scale", plain, "1e7", "x.safetensors", says="factor")

    def test_fuse(self):
        plain = LORA / "plain.safetensors"
        done = self.run_tool("fuse", "--model", MODEL, plain, "unet")
        self.assertEqual(done.stdout, "unet\n")
        self.assertEqual(sorted(p.name for p in (self.path / "unet").iterdir()),
                         ["config.json", "diffusion_pytorch_model.safetensors"])
        before = read(MODEL / "unet/diffusion_pytorch_model.safetensors")[1]
        after = read(self.path / "unet/diffusion_pytorch_model.safetensors")[1]
        self.assertEqual({k: v[:2] for k, v in before.items()}, {k: v[:2] for k, v in after.items()})
        self.assertEqual(sum(before[k] != after[k] for k in before), 7)
        delta, name = change(plain, QUERY), QUERY + ".weight"
        for x, y, d in zip(numbers(before[name]), numbers(after[name]), delta):
            self.assertAlmostEqual(x + d, y, delta=1e-3 * max(1, abs(y)))
        self.fails(1, "fuse", "--model", MODEL, plain, "unet", says="unet")
        self.fails(2, "fuse", plain, "other", says="--model")
        self.fails(3, "fuse", "--model", OTHER, plain, "other", says="another model")
        self.assertEqual(sorted(p.name for p in self.path.iterdir()), ["unet"])

    def test_fuse_says_that_the_range_is_lost(self):
        _, tensors = read(LORA / "plain.safetensors")
        file = write(self.path / "l.safetensors", tensors, {"mm_min_timestep": "500"})
        self.assertIn("500", self.run_tool("fuse", "--model", MODEL, file, "out").stderr)

    def test_numbers_that_are_none_are_not_fused(self):
        _, tensors = read(LORA / "plain.safetensors")
        dtype, shape, data = tensors[f"unet.{QUERY}.lora_A.weight"]
        tensors[f"unet.{QUERY}.lora_A.weight"] = (dtype, shape, b"\0\0\xc0\x7f" + data[4:])
        file = write(self.path / "l.safetensors", tensors, {})
        self.fails(7, "fuse", "--model", MODEL, file, "out", says="not finite")
        self.assertEqual([p.name for p in self.path.iterdir()], ["l.safetensors"])
        self.run_tool("info", file)

    def test_nothing_is_overwritten_unasked(self):
        plain, target = LORA / "plain.safetensors", self.path / "there.safetensors"
        target.write_text("precious")
        for command in [["convert", plain], ["merge", plain], ["scale", plain, 2]]:
            self.fails(1, *command, target, says="in the way")
            self.assertEqual(target.read_text(), "precious")
        self.run_tool("convert", plain, target, "--overwrite")
        self.assertNotEqual(target.read_bytes()[:8], b"precious")
        self.assertEqual([p.name for p in self.path.iterdir()], [target.name])

    def test_dry_run_writes_nothing(self):
        plain = LORA / "plain.safetensors"
        self.run_tool("convert", plain, "x.safetensors", "--dry-run")
        self.run_tool("merge", plain, plain, "x.safetensors", "--dry-run")
        self.run_tool("scale", plain, 2, "x.safetensors", "--dry-run")
        self.run_tool("fuse", "--model", MODEL, plain, "x", "--dry-run")
        self.assertEqual(list(self.path.iterdir()), [])

    def test_wrong_usage(self):
        plain = LORA / "plain.safetensors"
        self.fails(2, says="usage")
        self.fails(2, "info", says="usage")
        self.fails(2, "merge", plain, says="usage")
        self.fails(2, "unmerge", plain, "x.safetensors", says="unknown command")
        self.fails(2, "convert", plain, "x.safetensors", "--to", "onnx", says="peft|pt|kohya")
        self.fails(2, "convert", plain, "x.pt", "--to", "kohya", says=".safetensors")
        self.fails(2, "convert", plain, "x.bin", says=".safetensors")
        self.fails(2, "convert", plain, "x.pt", says="model")
        self.fails(2, "convert", LORA / "temporal.pt", "x.safetensors", says="model")
        self.fails(2, "merge", f"{plain}:1e9", "x.safetensors", says="factor")
        self.fails(4, "convert", plain, "x.pt", "--model", MODEL, says="is not adapted")
        self.assertEqual(list(self.path.iterdir()), [])

    def test_bad_files(self):
        self.fails(3, "info", "missing.safetensors", says="missing.safetensors")
        self.fails(3, "info", self.path, says="no LoRA here")
        self.fails(3, "info", FIXTURES / "media/plain.mp4", says="plain.mp4")
        self.fails(3, "info", MODEL / "unet/diffusion_pytorch_model.safetensors", says="LoRA")
        self.fails(4, "info", FIXTURES / "weights/legacy.pt", says="legacy.pt")
        self.fails(3, "merge", LORA / "plain.safetensors", "no:0.5", "x.safetensors", says="no")
        _, tensors = read(LORA / "plain.safetensors")
        other = {name: (dtype, [shape[0], 4] if "lora_A" in name else shape,
                        data[:16 * shape[0]] if "lora_A" in name else data)
                 for name, (dtype, shape, data) in tensors.items()
                 if QUERY in name}
        write(self.path / "other.safetensors", other, {})
        self.fails(3, "merge", LORA / "plain.safetensors", "other.safetensors", "x.safetensors",
                   says="different models")
        (self.path / "other.safetensors").unlink()
        self.assertEqual(list(self.path.iterdir()), [])

    def test_what_a_file_says_cannot_drive_the_terminal(self):
        _, tensors = read(LORA / "plain.safetensors")
        file = write(self.path / "l.safetensors", tensors,
                     {"mm_min_timestep": "\x1b[31m5\n", "\x07": "é" * 200})
        shown = self.run_tool("info", file).stdout
        self.assertNotIn("\x1b", shown)
        self.assertNotIn("\x07", shown)
        self.assertIn("(400 bytes)", shown)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
