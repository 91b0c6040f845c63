# SPDX-License-Identifier: BSD-2-Clause
"""Manual pages of sections 3 and 5: that they have every function and every option, and that groff
has nothing to say.

usage: manual.py PAGES_DIR SYMBOLS.TXT TOOLS_DIR SOURCE_DIR CC"""
import pathlib
import re
import shutil
import subprocess
import sys
import unittest

PAGES, SYMBOLS, TOOLS, SOURCE = (pathlib.Path(path).resolve() for path in sys.argv[1:5])

OF_THE_TOOLS = {"config", "describe", "dry-run", "dump", "help", "json", "print-config", "quiet",
                "replay", "resume", "set", "version"}


def page(name):
    return (PAGES / name).read_text(encoding="utf-8").replace("\\-", "-")


def help_of(*command):
    return subprocess.run([TOOLS / command[0], *command[1:], "--help"], check=True, text=True,
                          capture_output=True).stdout


class Manual(unittest.TestCase):
    def test_every_function_has_a_page(self):
        names = [line for line in SYMBOLS.read_text(encoding="utf-8").split("\n")
                 if line.startswith("mm_")]
        self.assertGreater(len(names), 50)
        for name in names:
            text = page(f"{name}.3")
            leads = re.match(r"\.so man3/(\w+\.3)\n", text)
            text = page(leads[1]) if leads else text
            self.assertIn(f".SS {name}()\n", text)
            self.assertRegex(text, rf"\.SH NAME\n.*\b{name}\b.* - \w")

    def test_a_page_says_what_the_header_says(self):
        text = page("mm_trainer.3")
        self.assertIn(".B #include <motionmatcher/trainer.h>\n", text)
        self.assertIn("Goes on with the run in the options' output_dir", text)
        self.assertIn(".I model\n", page("mm_lora.3"))
        self.assertNotRegex(text, r"@param|@return|MM_API")

    def test_the_example_compiles(self):
        text = (SOURCE / "docs" / "manual" / "libmotionmatcher.md").read_text(encoding="utf-8")
        example = "\n".join(re.findall(r"(?m)^    (.*)$", text))
        self.assertIn("mm_trainer_run", example)
        program = (f"#include <stdio.h>\n#include <motionmatcher/trainer.h>\n"
                   f"int main(void)\n{{\n{example}\nreturn 0;\n}}\n")
        done = subprocess.run([sys.argv[5], "-std=c99", "-Wall", "-Wextra", "-Werror",
                               "-fsyntax-only", "-I", SOURCE / "include", "-x", "c", "-"],
                              input=program, text=True, capture_output=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_every_option_is_there(self):
        text = page("motionmatcher-options.5")
        for command in (["mm-train"], ["mm-infer"], ["mm-eval", "features"],
                        ["mm-eval", "clip-scores"], ["mm-eval", "retrieve"]):
            shown = re.findall(r"(?m)^  (?:-\w+, )?--([\w-]+)", help_of(*command))
            missing = {name for name in shown if f"\\fB{name.replace('-', '_')}\\fR" not in text}
            self.assertLessEqual(missing, OF_THE_TOOLS, command)
        for name in ("learning_rate", "guidance_scale", "memory_budget", "tracker_model", "positives"):
            self.assertIn(f".TP\n\\fB{name}\\fR\n", text)

    @unittest.skipUnless(shutil.which("groff"), "no groff")
    def test_pages_are_clean(self):
        pages = [path for path in PAGES.glob("*.[35]")
                 if not path.read_text(encoding="utf-8").startswith(".so")]
        self.assertGreater(len(pages), 10)
        for path in pages:
            done = subprocess.run(["groff", "-man", "-ww", "-z", path], capture_output=True,
                                  text=True, check=True)
            self.assertEqual(done.stderr, "", path)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
