# SPDX-License-Identifier: BSD-2-Clause
"""What the tests of the Python package share. MM_FIXTURES names the folder of fixtures."""
import os
import pathlib
import unittest

import motionmatcher as mm

FIXTURES = pathlib.Path(os.environ["MM_FIXTURES"])
MODEL = FIXTURES / "quickstart-model"
SMALL = {"width": 16, "height": 16, "num_frames": 2}


class WithModel(unittest.TestCase):
    """A context and the tiny model in every test."""

    def setUp(self):
        self.events = []
        self.context = mm.Context(threads=1, on_event=self.events.append)
        self.model = mm.Model(self.context, MODEL)

    def tearDown(self):
        self.model.close()
        self.context.close()


def frames():
    """Two frames of 16 by 16, as an array that is neither of NumPy nor of PyTorch."""
    return Memory(bytes(i * 7 % 256 for i in range(2 * 16 * 16 * 3)), "|u1", (2, 16, 16, 3))


class Memory:
    """Bytes with the array interface."""

    def __init__(self, content, typestr, shape, strides=None):
        import ctypes

        self.buffer = ctypes.create_string_buffer(content, len(content))
        self.__array_interface__ = {
            "version": 3,
            "typestr": typestr,
            "shape": shape,
            "strides": strides,
            "data": (ctypes.addressof(self.buffer), True),
        }
