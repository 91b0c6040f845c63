# SPDX-License-Identifier: BSD-2-Clause
"""Loading the library, options, errors, the lives of handles."""
import gc
import os
import subprocess
import sys
import tempfile
import unittest

import motionmatcher as mm
from motionmatcher import _prototypes
from support import FIXTURES, MODEL, SMALL, WithModel, frames


def python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


class Library(unittest.TestCase):
    def test_version(self):
        self.assertEqual(mm.version(), mm.__version__)
        self.assertEqual(mm.__version__, _prototypes.VERSION)

    def test_other_files_are_refused(self):
        for name, message in (("/no/such.so", "MM_LIBRARY"), ("libc.so.6", "not libmotionmatcher")):
            done = python("import motionmatcher", MM_LIBRARY=name)
            self.assertNotEqual(done.returncode, 0)
            self.assertRegex(done.stderr, "ImportError: .*" + message)

    def test_another_abi_is_refused(self):
        # The package's own import would load the library first.
        code = (
            "import importlib.util, sys, pathlib\n"
            "root = pathlib.Path(importlib.util.find_spec('motionmatcher').origin).parent\n"
            "spec = importlib.util.spec_from_file_location(\n"
            "    'motionmatcher._prototypes', root / '_prototypes.py')\n"
            "module = importlib.util.module_from_spec(spec)\n"
            "spec.loader.exec_module(module)\n"
            "module.ABI_VERSION += 1\n"
            "sys.modules['motionmatcher._prototypes'] = module\n"
            "import motionmatcher\n"
        )
        done = python(code)
        self.assertNotEqual(done.returncode, 0)
        self.assertRegex(done.stderr, "ImportError: .* has the ABI 0, this package is made for 1")


class Settings(unittest.TestCase):
    def test_tables(self):
        for table in mm.options.TABLES:
            names = [option.name for option in mm.describe(table)]
            self.assertEqual(len(names), len(set(names)))
        steps = next(o for o in mm.describe("train") if o.name == "steps")
        self.assertEqual((steps.type, steps.default, steps.low), ("integer", "400", 1))
        with self.assertRaises(ValueError):
            mm.describe("nothing")

    def test_values(self):
        with mm.Options("train", {"steps": 3, "learning_rate": 1e-3, "prompt": None}) as options:
            options.set("validation_prompt", ["a", "b"])
            self.assertEqual(options.get("steps"), "3")
            self.assertEqual(options.get("validation_prompt", 1), "b")
            self.assertIsNone(options.get("prompt"))
            self.assertTrue(options.is_set("steps"))
            self.assertFalse(options.is_set("rank"))
            values = options.as_dict()
        self.assertEqual((values["steps"], values["learning_rate"]), (3, 1e-3))

    def test_every_option_takes_its_default(self):
        for table in mm.options.TABLES:
            for option in mm.describe(table):
                if option.default is not None:
                    mm.Options(table, {option.name: option.default}).close()

    def test_wrong_values(self):
        with self.assertRaisesRegex(mm.UsageError, "width"):
            mm.Options("train", {"widht": 3})
        with self.assertRaisesRegex(mm.UsageError, "steps"):
            mm.Options("train", {"steps": 0})
        with self.assertRaises(ValueError):
            mm.Options("train", {"prompt": "a\0b"})

    def test_config(self):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            file.write('{"steps": 7, "rank": 3}')
            file.flush()
            with mm.Options("train", {"rank": 5}, config=file.name) as options:
                self.assertEqual((options.get("steps"), options.get("rank")), ("7", "5"))


class Errors(WithModel):
    def test_statuses(self):
        with self.assertRaises(mm.InputError) as caught:
            mm.Model(self.context, "/no/such/model")
        self.assertEqual(caught.exception.status, _prototypes.ERR_INPUT)
        self.assertIn("/no/such/model", str(caught.exception))
        with self.assertRaises(mm.OutOfMemoryError):
            with mm.Context(threads=1, memory_budget="1K") as context:
                mm.Extractor(mm.Model(context, MODEL), **SMALL).plan()
        with self.assertRaises(mm.DeviceError):
            mm.Context(device="cuda:77")
        with self.assertRaises(mm.UsageError):
            mm.Trainer(self.model, width=15)
        with self.assertRaises(mm.UsageError):
            mm.Extractor(self.model, **SMALL).run()

    def test_all_statuses_have_a_class(self):
        statuses = [value for name, value in vars(_prototypes).items() if name.startswith("ERR_")]
        for status in statuses:
            kind = mm.errors.error_for(status, "x")
            self.assertEqual(kind.status, status)
            self.assertIsNot(type(kind), mm.Error)
        self.assertEqual(mm.errors.error_for(-99, "x").status, -99)


class Lives(WithModel):
    def test_closed_handles_say_so(self):
        lora = mm.Lora(self.model)
        lora.close()
        lora.close()
        self.assertTrue(lora.closed)
        with self.assertRaisesRegex(ValueError, "Lora is closed"):
            len(lora)

    def test_any_order(self):
        video = mm.Video(frames(), 8)
        extractor = mm.Extractor(self.model, timestep=500, **SMALL)
        self.model.close()
        self.context.close()
        extractor.set_video(video, "a test")
        extractor.run()
        maps = extractor.ca
        extractor.close()
        self.assertEqual(maps.shape[3], 77)

    def test_collected(self):
        context = mm.Context(threads=1)
        model = mm.Model(context, MODEL)
        mm.Lora(model)
        del model, context
        gc.collect()

    def test_nothing_is_printed_at_the_end(self):
        code = f"""
import motionmatcher as mm
context = mm.Context(threads=1)
model = mm.Model(context, {str(MODEL)!r})
tensor = mm.Lora.open(model, {str(FIXTURES / "lora" / "plain.safetensors")!r}).matrices(0)[0]
capsule = tensor.__dlpack__()
"""
        done = python(code)
        self.assertEqual((done.returncode, done.stderr, done.stdout), (0, "", ""))


if __name__ == "__main__":
    unittest.main()
