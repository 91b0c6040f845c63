# SPDX-License-Identifier: BSD-2-Clause
"""Training, features, sampling, LoRAs and scores through the package, against what the tools and
other implementations computed."""
import json
import os
import pathlib
import signal
import struct
import tempfile
import threading
import unittest

import motionmatcher as mm
from support import FIXTURES, MODEL, SMALL, Memory, WithModel, frames
from tensors import values

TRAIN = dict(SMALL, rank=2, steps=4, validation_every=0, seed=3)


def read_safetensors(path):
    """Name to an array of its bytes."""
    content = pathlib.Path(path).read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    types = {"F32": "<f4", "U8": "|u1", "I64": "<i8"}
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            first, last = entry["data_offsets"]
            data = content[8 + size + first : 8 + size + last]
            tensors[name] = Memory(data, types[entry["dtype"]], tuple(entry["shape"]))
    return tensors


def largest_difference(a, b):
    return max(abs(x - y) for x, y in zip(values(mm.Tensor.of(a)), values(mm.Tensor.of(b))))


class Training(WithModel):
    def trainer(self, **more):
        trainer = mm.Trainer(self.model, **dict(TRAIN, **more))
        trainer.add_clip(mm.Video(frames(), 8), "a test")
        return trainer

    def test_run(self):
        trainer = self.trainer()
        planned = trainer.plan()
        self.assertGreater(planned, 1 << 20)
        before = trainer.lora()
        trainer.run()
        steps = [event for event in self.events if event.kind == "step"]
        self.assertEqual([event.step for event in steps], [1, 2, 3, 4])
        for event in steps:
            self.assertEqual(event.of, 4)
            self.assertTrue(500 <= event.timestep <= 999)
            self.assertAlmostEqual(
                event.loss, event.loss_spatial + event.loss_temporal, delta=1e-6 * event.loss
            )
        lora = trainer.lora()
        self.assertEqual(lora.metadata["mm_prompt"], "a test")
        self.assertEqual((before.layers[0].norm, lora.layers[0].norm > 0), (0, True))

    def test_the_same_as_in_a_run_s_directory(self):
        with tempfile.TemporaryDirectory() as folder:
            written = self.trainer(output_dir=f"{folder}/run", checkpoint_every=2)
            written.run()
            unwritten = self.trainer()
            unwritten.run()
            unwritten.lora().save(f"{folder}/lora.safetensors")
            self.assertEqual(
                pathlib.Path(f"{folder}/lora.safetensors").read_bytes(),
                pathlib.Path(f"{folder}/run/checkpoint-4/lora.safetensors").read_bytes(),
            )
            resumed = mm.Trainer.resume(self.model, f"{folder}/run", steps=5)
            resumed.run()
            self.assertTrue(pathlib.Path(f"{folder}/run/checkpoint-5").is_dir())
            with self.assertRaises(mm.UsageError):
                mm.Trainer.resume(self.model, f"{folder}/run", rank=5)

    def test_what_a_callback_raises_comes_out(self):
        class Enough(Exception):
            pass

        def end(event):
            if event.kind == "step" and event.step == 2:
                raise Enough("two")

        trainer = self.trainer()
        self.context.on_event = end
        with self.assertRaisesRegex(Enough, "two"):
            trainer.run()
        self.context.on_event = self.events.append
        trainer.run()  # goes on
        steps = [event.step for event in self.events if event.kind == "step"]
        self.assertEqual(steps, [3, 4])

    def test_stop(self):
        def stop(event):
            if event.kind == "step":
                self.context.stop()

        trainer = self.trainer()
        self.context.on_event = stop
        with self.assertRaises(mm.Cancelled):
            trainer.run()
        with self.assertRaises(mm.Cancelled):
            trainer.run()
        self.context.on_event = None
        self.context.resume()
        trainer.run()

    def test_cancel_from_another_thread(self):
        started = threading.Event()
        self.context.on_event = lambda event: started.set() if event.kind == "step" else None
        trainer = self.trainer(steps=1000000)

        def cancel():
            started.wait()
            self.context.cancel()

        thread = threading.Thread(target=cancel)
        thread.start()
        with self.assertRaises(mm.Cancelled):
            trainer.run()
        thread.join()

    def test_interrupt(self):
        def interrupt(event):
            if event.kind == "step" and event.step == 2:
                os.kill(os.getpid(), signal.SIGINT)

        before = signal.getsignal(signal.SIGINT)
        trainer = self.trainer(steps=1000)
        self.context.on_event = interrupt
        with self.assertRaises(KeyboardInterrupt):
            trainer.run()
        self.assertIs(signal.getsignal(signal.SIGINT), before)
        self.context.on_event = None
        self.assertGreater(trainer.lora().layers[0].norm, 0)

    def test_tqdm(self):
        class Bar:
            bars = []

            def __init__(self, total, desc):
                self.total, self.desc, self.n, self.postfix, self.closed = total, desc, 0, [], False
                self.bars.append(self)

            def update(self, n):
                self.n += n
                return True  # as tqdm does: no wish to stop

            def set_postfix(self, **values):
                self.postfix.append(values["loss"])

            def close(self):
                self.closed = True

        trainer = self.trainer()
        self.context.on_event = mm.ProgressBar(Bar)
        trainer.run()
        (bar,) = Bar.bars
        self.assertEqual((bar.total, bar.n, bar.desc, bar.closed), (4, 4, "training", True))
        self.assertEqual(len(bar.postfix), 4)
        try:
            import tqdm
        except ImportError:
            self.skipTest("tqdm is not installed")
        with open(os.devnull, "w", encoding="utf-8") as null:
            self.context.on_event = mm.ProgressBar(lambda **k: tqdm.tqdm(file=null, **k))
            again = self.trainer()
            again.run()


class Features(WithModel):
    def test_parity(self):
        """With diffusers' maps of the same clip and noise."""
        given = read_safetensors(FIXTURES / "parity" / "quickstart-model-features.safetensors")
        timestep = struct.unpack("<q", given["timestep"].buffer.raw)[0]
        shape = given["frames"].__array_interface__["shape"]
        context = mm.Context(threads=1, precision="f32")
        extractor = mm.Extractor(
            mm.Model(context, MODEL), num_frames=shape[0], height=shape[1], width=shape[2],
            spatial_scale_factor=4, temporal_scale_factor=4,
        )  # fmt: skip
        extractor.set_video(mm.Video(given["frames"]), "A dog is sitting in the snow.")
        extractor.run(timestep, given["noise"])
        self.assertEqual(extractor.tokens[:2], ["<|startoftext|>", "a"])
        self.assertEqual(extractor.ca.shape, given["ca.4"].__array_interface__["shape"])
        tsa = extractor.tsa.shape
        self.assertEqual(tsa[0] * tsa[1], given["tsa.4"].__array_interface__["shape"][0])
        self.assertLess(largest_difference(given["ca.4"], extractor.ca), 2e-6)
        self.assertLess(largest_difference(given["tsa.4"], extractor.tsa), 2e-6)

    def test_files(self):
        extractor = mm.Extractor(self.model, timestep=500, **SMALL)
        extractor.set_video(mm.Video(frames()), "a test")
        extractor.run()
        with tempfile.TemporaryDirectory() as folder:
            extractor.write(f"{folder}/maps.safetensors")
            stored = read_safetensors(f"{folder}/maps.safetensors")
        self.assertEqual(largest_difference(stored["ca"], extractor.ca), 0)

    def test_latents(self):
        extractor = mm.Extractor(self.model, timestep=500, **SMALL)
        latents = Memory(struct.pack("128f", *range(128)), "<f4", (1, 4, 2, 4, 4))
        with self.assertRaises(mm.UsageError):
            extractor.set_latents(Memory(bytes(4), "<f4", (1,)), "a test")
        extractor.set_latents(latents, "a test")
        extractor.run(noise=latents, timestep=3)
        with self.assertRaises(ValueError):
            extractor.run(noise=latents)


class Sampling(WithModel):
    options = dict(SMALL, prompt="a circle", num_steps=2, seed=5)

    def test_draw(self):
        sampler = mm.Sampler(self.model, **self.options)
        self.assertGreater(sampler.plan(), 1 << 20)
        video = sampler.draw()
        self.assertEqual((len(video), video.height, video.width, video.fps), (2, 16, 16, 8))
        self.assertEqual(sampler.latents.shape, (1, 4, 2, 4, 4))
        with self.assertRaises(mm.UsageError):
            sampler.inversion

    def test_the_same_as_in_files(self):
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/latents.safetensors"
            sampler = mm.Sampler(self.model, save_latents=path, steps_only=True, **self.options)
            sampler.run()
            stored = read_safetensors(path)["latents"]
            self.assertEqual(largest_difference(stored, sampler.latents), 0)
            with self.assertRaisesRegex(ValueError, "steps_only"):
                sampler.draw()

    def test_a_video_says_how_to_draw_it_again(self):
        with tempfile.TemporaryDirectory() as folder:
            mm.Sampler(self.model, output=f"{folder}/out.gif", **self.options).run()
            described = json.loads(pathlib.Path(folder, "out.json").read_text(encoding="utf-8"))
        self.assertEqual(described["model"], os.path.abspath(self.model.directory))

    def test_init_latents(self):
        sampler = mm.Sampler(self.model, **dict(self.options, num_steps=0))
        start = Memory(struct.pack("128f", *range(128)), "<f4", (4, 2, 4, 4))
        sampler.set_init_latents(start)
        sampler.draw()
        self.assertEqual(values(sampler.latents), list(range(128)))
        sampler.set_init_latents(None)
        sampler.draw()
        self.assertNotEqual(values(sampler.latents), list(range(128)))

    def test_loras(self):
        path = FIXTURES / "lora" / "diffusers.safetensors"

        def latents(lora):
            sampler = mm.Sampler(self.model, steps_only=True, lora=lora, **self.options)
            sampler.run()
            return sampler.latents

        none, whole = latents(None), latents(path)
        self.assertGreater(largest_difference(none, whole), 1e-3)
        self.assertEqual(largest_difference(latents((path, 0.0)), none), 0)
        memory = mm.Lora.open(self.model, path)
        self.assertEqual(largest_difference(latents(memory), whole), 0)
        half = latents([(memory, 0.25), (path, 0.25)])
        self.assertLess(largest_difference(latents((path, 0.5)), half), 1e-4)

    def test_noise_prior(self):
        with tempfile.TemporaryDirectory() as folder:
            first = mm.Sampler(
                self.model, steps_only=True, save_latents=f"{folder}/l.safetensors", **self.options
            )
            first.run()
            sampler = mm.Sampler(
                self.model,
                noise_prior=0.5,
                reference_latents=f"{folder}/l.safetensors",
                steps_only=True,
                **self.options,
            )
        sampler.run()
        self.assertEqual(sampler.inversion.shape, (1, 4, 2, 4, 4))


class Loras(WithModel):
    def test_open(self):
        path = FIXTURES / "lora" / "diffusers.safetensors"
        lora = mm.Lora.open(self.model, path)
        alone = mm.Lora.open(self.context, path)
        self.assertEqual((lora.format, len(lora), lora.rank, lora.tensors), ("peft", 7, 4, 14))
        self.assertEqual(lora.tensors_applied, 14)
        self.assertEqual(lora.layers, alone.layers)
        self.assertIn("lora_adapter_metadata", lora.metadata)
        with self.assertRaises(mm.InputError):
            mm.Lora.open(self.model, FIXTURES / "no-such-file")

    def test_state_dict(self):
        lora = mm.Lora.open(self.model, FIXTURES / "lora" / "plain.safetensors")
        tensors = lora.state_dict()
        self.assertEqual(len(tensors), 14)
        again = mm.Lora.from_state_dict(self.model, tensors)
        again.put_metadata("mm_min_timestep", "500")
        self.assertEqual(again.layers, lora.layers)
        with tempfile.TemporaryDirectory() as folder:
            again.save(f"{folder}/again.safetensors")
            read = mm.Lora.open(self.model, f"{folder}/again.safetensors")
            self.assertEqual(read.layers, lora.layers)
            self.assertEqual(read.metadata["mm_min_timestep"], "500")
            with self.assertRaises(mm.UsageError):
                again.save(f"{folder}/again.bin")
        name = next(iter(tensors))
        with self.assertRaises(ValueError):
            mm.Lora.from_state_dict(self.model, {name: tensors[name]})
        with self.assertRaises(ValueError):
            mm.Lora.from_state_dict(self.model, {"x.weight": tensors[name]})

    def test_merge_and_scale(self):
        lora = mm.Lora.open(self.model, FIXTURES / "lora" / "plain.safetensors")
        other = mm.Lora.open(self.model, FIXTURES / "lora" / "plain.safetensors")
        given = lora.matrices(0)[1]
        before = values(given)
        lora.scale(-2)
        self.assertEqual(values(given), before)
        self.assertEqual(values(lora.matrices(0)[1]), [-2 * value for value in before])
        nothing = mm.Lora.merge([lora, other], [1.0, 2.0])
        self.assertTrue(all(layer.norm < 1e-5 for layer in nothing.layers))
        with self.assertRaises(ValueError):
            mm.Lora.merge([])
        with self.assertRaises(ValueError):
            mm.Lora.merge([lora], [1.0, 2.0])

    def test_fuse(self):
        lora = mm.Lora.open(self.model, FIXTURES / "lora" / "plain.safetensors")
        with tempfile.TemporaryDirectory() as folder:
            lora.fuse(f"{folder}/unet")
            self.assertEqual(len(os.listdir(f"{folder}/unet")), 2)


class Scores(WithModel):
    def test_evaluator(self):
        evaluator = mm.Evaluator(self.context, clip_model=FIXTURES / "evaluation" / "clip")
        evaluator.add(FIXTURES / "evaluation" / "moving.mkv", "a red circle")
        evaluator.add("/no/such/video.mp4", "nothing", "/no/such/reference.mp4")
        self.assertEqual(len(evaluator), 2)
        self.assertEqual(evaluator.figures, ["clip_text", "frame_consistency"])
        seen = []
        scores = evaluator.run(seen.append)
        self.assertEqual(scores, seen)
        good, bad, mean = scores
        self.assertEqual((good.status, mean.path), (0, None))
        self.assertEqual(bad.status, mm.InputError.status)
        self.assertIn("/no/such/video.mp4", bad.message)
        self.assertIsNone(good.reference)
        self.assertEqual(good.figures, mean.figures)
        self.assertLessEqual(abs(good.figures["clip_text"]), 1)
        lonely = mm.Evaluator(self.context, clip_model=FIXTURES / "evaluation" / "clip")
        with self.assertRaises(mm.UsageError):
            lonely.run()

    def test_retriever(self):
        media = FIXTURES / "media"
        retriever = mm.Retriever(
            self.model, query=media / "plain.mp4", prompt="a test", **SMALL
        )
        retriever.add(media / "three.mp4")
        self.assertEqual(len(retriever), 2)
        found = retriever.run()
        self.assertEqual([item.kind for item in found if item.kind == "video"], ["video"])
        self.assertEqual(pathlib.Path(found[0].path).name, "three.mp4")
        self.assertIn("motion", found[0].figures)


class Videos(WithModel):
    def test_files(self):
        video = mm.Video.decode(
            self.context, FIXTURES / "media" / "plain.mp4", width=24, height=16, num_frames=2
        )
        self.assertEqual((len(video), video.width, video.height), (2, 24, 16))
        with tempfile.TemporaryDirectory() as folder:
            video.write(self.context, f"{folder}/out.gif")
            again = mm.Video.decode(
                self.context, f"{folder}/out.gif", width=24, height=16, num_frames=2
            )
            self.assertIsNone(mm.read_prompt(f"{folder}/out.gif"))
            known = mm.probe(f"{folder}/out.gif")
            self.assertEqual((known.width, known.height, known.codec), (24, 16, "gif"))
            pathlib.Path(folder, "out.json").write_text('{"prompt": "a"}', encoding="utf-8")
            self.assertEqual(mm.read_prompt(f"{folder}/out.gif"), "a")
        self.assertEqual(again.frames.shape, (2, 16, 24, 3))
        with self.assertRaises(mm.InputError):
            mm.Video.decode(self.context, "/no/such.mp4")
        with self.assertRaises(mm.InputError):
            mm.probe("/no/such.mp4")


if __name__ == "__main__":
    unittest.main()
