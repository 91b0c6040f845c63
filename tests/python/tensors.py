# SPDX-License-Identifier: BSD-2-Clause
"""Memory that is shared with NumPy, with PyTorch where it is there, and by capsules alone."""
import gc
import struct
import unittest
import weakref

import motionmatcher as mm
from support import FIXTURES, SMALL, Memory, WithModel, frames

try:
    import numpy
except ImportError:
    numpy = None
try:
    import torch
except ImportError:
    torch = None

needs_numpy = unittest.skipIf(numpy is None, "NumPy is not installed")
needs_torch = unittest.skipIf(torch is None, "PyTorch is not installed")


def values(tensor):
    """The elements of an f32 tensor, without NumPy."""
    import ctypes

    def walk(offset, dimension):
        if dimension == tensor.ndim:
            yield ctypes.c_float.from_address(tensor.data + 4 * offset).value
            return
        for index in range(tensor.shape[dimension]):
            yield from walk(offset + index * tensor.strides[dimension], dimension + 1)

    return list(walk(0, 0))


class Borrowing(unittest.TestCase):
    def test_the_same_memory(self):
        source = Memory(struct.pack("6f", *range(6)), "<f4", (2, 3))
        tensor = mm.Tensor(source)
        self.assertEqual((tensor.dtype, tensor.shape, tensor.strides), ("f32", (2, 3), (3, 1)))
        self.assertEqual(tensor.data, source.__array_interface__["data"][0])
        self.assertEqual(values(tensor), [0, 1, 2, 3, 4, 5])
        self.assertIs(mm.Tensor.of(tensor), tensor)

    def test_strides(self):
        content = struct.pack("6f", *range(6))
        turned = mm.Tensor(Memory(content, "<f4", (3, 2), (4, 12)))
        self.assertEqual(values(turned), [0, 3, 1, 4, 2, 5])
        with self.assertRaises(TypeError):
            mm.Tensor(Memory(content, "<f4", (2,), (6,)))

    def test_the_source_lives_as_long_as_needed(self):
        source = Memory(bytes(8), "<i8", (1,))
        gone = weakref.ref(source)
        tensor = mm.Tensor(source)
        capsule = tensor.__dlpack__()
        del source
        tensor.close()
        gc.collect()
        self.assertIsNotNone(gone())
        del capsule
        gc.collect()
        self.assertIsNone(gone())

    def test_what_is_refused(self):
        for source in (3, "text", Memory(bytes(8), "<c8", (1,)), Memory(bytes(8), ">f8", (1,))):
            with self.assertRaises(TypeError):
                mm.Tensor(source)
        with self.assertRaises(mm.UsageError):
            mm.Tensor(Memory(bytes(1), "|u1", (1,) * 7))
        with self.assertRaises(mm.UsageError):
            mm.Video(Memory(bytes(12), "|u1", (1, 2, 2, 3)), fps=float("nan"))
        with self.assertRaises(mm.UsageError):
            mm.Video(Memory(bytes(12), "|u1", (2, 2, 3)))


class Capsules(unittest.TestCase):
    def exchange(self, **arguments):
        """Out and in again: a tensor that knows __dlpack__ alone."""
        source = Memory(struct.pack("2d", 1, 2), "<f8", (2,))
        tensor = mm.Tensor(source)

        class Other:
            def __dlpack__(self, max_version=None):
                return tensor.__dlpack__(**arguments)

        return tensor, mm.Tensor(Other())

    def test_both_forms(self):
        for arguments in ({}, {"max_version": (1, 0)}, {"max_version": (0, 8)}):
            tensor, again = self.exchange(**arguments)
            self.assertEqual(again.data, tensor.data)
            address = tensor.data
            tensor.close()
            self.assertEqual((again.dtype, again.shape, again.data), ("f64", (2,), address))

    def test_a_capsule_is_taken_once(self):
        tensor = mm.Tensor(Memory(bytes(4), "<f4", (1,)))
        capsule = tensor.__dlpack__()

        class Other:
            def __dlpack__(self):
                return capsule

        mm.Tensor(Other())
        with self.assertRaises(TypeError):
            mm.Tensor(Other())

    def test_what_it_cannot_do(self):
        tensor = mm.Tensor(Memory(bytes(4), "<f4", (1,)))
        self.assertEqual(tensor.__dlpack_device__(), (1, 0))
        for wrong in ({"stream": 1}, {"dl_device": (2, 0)}, {"copy": True}):
            with self.assertRaises(BufferError):
                tensor.__dlpack__(**wrong)


@needs_numpy
class NumPy(WithModel):
    def test_there_and_back(self):
        array = numpy.arange(2 * 16 * 16 * 3, dtype=numpy.uint8).reshape(2, 16, 16, 3)
        video = mm.Video(array, 12)
        out = video.frames.numpy()
        self.assertTrue(numpy.shares_memory(array, out))
        self.assertFalse(out.flags.writeable)
        self.assertTrue(numpy.array_equal(array, out))
        video.close()
        del array
        gc.collect()
        self.assertEqual(int(out.sum()), 2 * 16 * 16 * 3 // 256 * 255 * 128)
        self.assertTrue(numpy.shares_memory(mm.Tensor(out).numpy(), out))

    def test_views(self):
        array = numpy.arange(24, dtype=numpy.float32).reshape(2, 3, 4)
        for view in (array[::-1], array.transpose(2, 0, 1), array[:, 1:, ::2], array[1:1]):
            tensor = mm.Tensor(view)
            self.assertTrue(numpy.array_equal(tensor.numpy(), view))
            self.assertEqual(numpy.shares_memory(tensor.numpy(), array), view.size > 0)
        with self.assertRaisesRegex(TypeError, "float32"):
            mm.Tensor(array[0, 0, 0])

    def test_from_dlpack(self):
        tensor = mm.Tensor(numpy.arange(6, dtype=numpy.float64))
        array = numpy.from_dlpack(tensor)
        self.assertEqual(array.ctypes.data, tensor.data)
        self.assertFalse(array.flags.writeable)

    def test_half(self):
        lora = mm.Lora.open(self.model, FIXTURES / "lora" / "wide.safetensors")
        down, up = lora.matrices(0)
        self.assertEqual(down.dtype, "f16")
        self.assertEqual(down.numpy().dtype, numpy.float16)
        self.assertEqual(up.numpy().shape[1], down.numpy().shape[0])

    def test_bf16(self):
        class Brain:
            """One bf16 number, as DLPack has it."""

            def __init__(self):
                import ctypes

                self.number = ctypes.c_uint16(0x3F80)

        import ctypes

        source, pointer = Brain(), ctypes.c_void_p()
        mm._native.check(
            mm._native.lib.mm_tensor_wrap(
                ctypes.byref(pointer),
                ctypes.addressof(source.number),
                b"bf16",
                0,
                None,
                None,
                mm._prototypes.ReleaseCallback(),
                None,
            )
        )
        tensor = mm.Tensor._of_pointer(pointer)
        self.assertEqual((tensor.dtype, tensor.shape), ("bf16", ()))
        with self.assertRaisesRegex(TypeError, "bf16"):
            tensor.numpy()

    def test_maps_outlive_later_runs(self):
        extractor = mm.Extractor(self.model, timestep=500, **SMALL)
        extractor.set_video(mm.Video(frames()), "a test")
        extractor.run()
        first = extractor.ca.numpy()
        before = first.copy()
        extractor.run(timestep=900)
        self.assertTrue(numpy.array_equal(first, before))
        self.assertFalse(numpy.array_equal(first, extractor.ca.numpy()))
        self.assertTrue(numpy.allclose(extractor.ca.numpy().sum(axis=-1), 1, atol=1e-5))
        self.assertTrue(numpy.allclose(extractor.tsa.numpy().sum(axis=-1), 1, atol=1e-5))


@needs_torch
class PyTorch(WithModel):
    def test_there_and_back(self):
        lora = mm.Lora.open(self.model, FIXTURES / "lora" / "diffusers.safetensors")
        ours = lora.state_dict()
        theirs = {name: torch.from_dlpack(tensor) for name, tensor in ours.items()}
        for name, tensor in theirs.items():
            self.assertEqual(tensor.data_ptr(), ours[name].data)
        again = mm.Lora.from_state_dict(self.model, theirs)
        self.assertEqual(again.matrices(0)[0].data, lora.matrices(0)[0].data)

    def test_bf16(self):
        source = torch.arange(6).reshape(2, 3).to(torch.bfloat16)
        tensor = mm.Tensor(source)
        self.assertEqual((tensor.dtype, tensor.data), ("bf16", source.data_ptr()))
        self.assertTrue(torch.equal(torch.from_dlpack(tensor), source))


if __name__ == "__main__":
    unittest.main()
