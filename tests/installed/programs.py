# SPDX-License-Identifier: BSD-2-Clause
"""Compiles programs against the installed library as others do, with pkg-config alone, and runs them:
C99 and C++17, with the shared library and, where it is installed, with the static one; and loads the
library by its soname without any header.

usage: programs.py FIXTURES_DIR

Read from the environment: CC, CXX, and what pkg-config and the loader take (PKG_CONFIG_PATH,
PKG_CONFIG_SYSROOT_DIR, LD_LIBRARY_PATH)."""
import ctypes
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
FIXTURES = pathlib.Path(sys.argv[1]).resolve()
STRICT = ["-pedantic", "-Wall", "-Wextra", "-Werror"]
CC = os.environ.get("CC", "cc").split()
CXX = os.environ.get("CXX", "c++").split()


def pkg_config(*arguments):
    done = subprocess.run(["pkg-config", *arguments, "motionmatcher"], check=True, text=True,
                          capture_output=True)
    return done.stdout.split()


def installed_library(name):
    """None where there is no library of this name."""
    flags = [flag[2:] for flag in pkg_config("--libs-only-L")] or pkg_config("--variable=libdir")
    return next((path for directory in flags
                 if (path := pathlib.Path(directory) / name).exists()), None)


class Programs(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = pathlib.Path(directory.name)

    def check(self, *command):
        done = subprocess.run([str(part) for part in command], text=True, capture_output=True,
                              timeout=120, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""), f"{command}\n{done.stdout}")
        return done.stdout

    def build_and_run(self, compiler, libraries):
        program = self.path / "program"
        self.check(*compiler, *STRICT, HERE / "program.c", "-o", program, *pkg_config("--cflags"),
                   *libraries)
        self.assertIn("ABI 0", self.check(program, FIXTURES / "quickstart-model"))
        return program

    def test_c99(self):
        self.build_and_run([*CC, "-std=c99"], pkg_config("--libs"))

    @unittest.skipUnless(shutil.which(CXX[0]), "no C++ compiler")
    def test_cxx17(self):
        self.build_and_run([*CXX, "-std=c++17", "-x", "c++"], pkg_config("--libs"))

    def test_static(self):
        archive = installed_library("libmotionmatcher.a")
        if archive is None:
            self.skipTest("the static library is not installed")
        libraries = [str(archive) if flag == "-lmotionmatcher" else flag
                     for flag in pkg_config("--static", "--libs")]
        program = self.build_and_run([*CC, "-std=c99"], libraries)
        needed = self.check("readelf", "-d", program)
        self.assertNotIn("libmotionmatcher", needed)

    def test_loaded_by_soname(self):
        if installed_library("libmotionmatcher.so") is None:
            self.skipTest("the shared library is not installed")
        library = ctypes.CDLL("libmotionmatcher.so.0")
        self.assertEqual(library.mm_abi_version(), 0)
        library.mm_version.restype = ctypes.c_char_p
        self.assertEqual(library.mm_version().decode(), pkg_config("--modversion")[0])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
