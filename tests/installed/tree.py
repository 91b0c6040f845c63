# SPDX-License-Identifier: BSD-2-Clause
"""Installs the build into a folder and looks at what came: every file under the tag of its package,
no trace of where it was built; then runs programs.py against it.

usage: tree.py BUILD_DIR FIXTURES_DIR"""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

BUILD, FIXTURES = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
HERE = pathlib.Path(__file__).resolve().parent
SOURCE = HERE.parents[1]
TOOLS = ["mm-eval", "mm-infer", "mm-lora", "mm-train"]
# For each tag, what its files look like under the prefix.
PLACES = {
    "runtime": [r"lib.*/libmotionmatcher\.so\.\d.*"],
    "devel": [r"include/motionmatcher/\w+\.h", r"lib.*/libmotionmatcher\.(a|so)",
              r"lib.*/pkgconfig/motionmatcher\.pc"],
    "bin": [r"bin/mm-\w+", r"share/(bash-completion|fish|zsh)/.*"],
    "man": [r"share/man/man[135]/.*"],
    "demo": [r"share/motionmatcher/.*"],
    "tests": [r"(libexec|share)/installed-tests/.*"],
}


def introspect(what):
    done = subprocess.run(["meson", "introspect", what, BUILD], check=True, text=True,
                          capture_output=True)
    return json.loads(done.stdout)


def meson_install(folder, *arguments):
    subprocess.run(["meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", folder,
                    *arguments], check=True, stdout=subprocess.DEVNULL)


class Tree(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.directory.name)
        meson_install(cls.folder / "all")
        options = {option["name"]: option["value"] for option in introspect("--buildoptions")}
        cls.prefix, cls.options = options["prefix"].lstrip("/"), options
        cls.root = cls.folder / "all" / cls.prefix
        cls.files = cls.list_files("all")

    @classmethod
    def tearDownClass(cls):
        cls.directory.cleanup()

    @classmethod
    def list_files(cls, name):
        root = cls.folder / name / cls.prefix
        return {path.relative_to(root).as_posix() for path in root.rglob("*")
                if path.is_symlink() or path.is_file()}

    def test_every_file_has_its_tag(self):
        seen = set()
        for tag, patterns in PLACES.items():
            meson_install(self.folder / tag, "--tags", tag)
            files = self.list_files(tag)
            for file in files:
                self.assertTrue(any(re.fullmatch(p, file) for p in patterns), (tag, file))
            seen |= files
        self.assertEqual(seen, self.files)

    def test_what_is_expected_is_there(self):
        for tool in TOOLS:
            for file in (f"bin/{tool}", f"share/man/man1/{tool}.1",
                         f"share/fish/vendor_completions.d/{tool}.fish",
                         f"share/zsh/site-functions/_{tool}"):
                self.assertIn(file, self.files)
        for file in ("share/man/man3/mm_trainer_run.3", "share/man/man5/motionmatcher-files.5",
                     "share/man/man5/motionmatcher-options.5", "include/motionmatcher/trainer.h"):
            self.assertIn(file, self.files)

    def test_nothing_tells_where_it_was_built(self):
        source = str(BUILD.parent).encode()
        for file in sorted(self.files):
            path = self.root / file
            if path.is_file():
                self.assertNotIn(source, path.read_bytes(), file)

    def check_programs(self, script, *arguments):
        libraries = self.root / self.options["libdir"]
        environment = {**os.environ, "PKG_CONFIG_SYSROOT_DIR": str(self.folder / "all"),
                       "PKG_CONFIG_PATH": str(libraries / "pkgconfig"),
                       "LD_LIBRARY_PATH": str(libraries)}
        done = subprocess.run([sys.executable, HERE / script, *arguments], env=environment,
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_programs(self):
        self.check_programs("programs.py", FIXTURES)

    @unittest.skipUnless((SOURCE / "models" / "demo" / "unet").exists(), "no demo model")
    def test_examples(self):
        if "#define MM_HAVE_FFMPEG 1" not in (BUILD / "config.h").read_text(encoding="utf-8"):
            self.skipTest("the library cannot read videos")
        self.check_programs("examples.py", SOURCE)

    def test_tools_find_their_library(self):
        environment = {**os.environ}
        if self.prefix == "usr":
            environment["LD_LIBRARY_PATH"] = str(self.root / self.options["libdir"])
        for tool in TOOLS:
            done = subprocess.run([self.root / "bin" / tool, "--version"], capture_output=True,
                                  text=True, env=environment, check=False)
            self.assertEqual((done.returncode, done.stderr), (0, ""))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
