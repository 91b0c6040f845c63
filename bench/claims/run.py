#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The paper's claims on the demo model: trains every method on reference clips, samples other
prompts with each, and measures motion, text and leak. README.md says what the figures mean.

    python3 bench/claims/run.py --tools build/tools --output DIR

can be stopped at any time: what is trained and sampled is kept, and the same call goes on.
"""
import argparse
import concurrent.futures
import fcntl
import json
import pathlib
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
DEMO = HERE.parents[1] / "models" / "demo"
sys.path.insert(0, str(DEMO))
import clips  # noqa: E402
import detect  # noqa: E402
import kept  # noqa: E402

import figures  # noqa: E402
import plan  # noqa: E402
import report  # noqa: E402


class Unit:
    """One method on one reference: at most one training, then its videos."""

    def __init__(self, settings, reference, name):
        self.settings, self.reference, self.method = settings, reference, plan.METHODS[name]
        self.method_name, self.name = name, f"{reference.name} {name}"
        self.folder = settings.output / reference.name / name
        self.run = self.folder / "run"
        self.clip = settings.output / reference.name / "reference.mp4"

    def training(self):
        """Options of mm-train without its paths."""
        return {"prompt": self.reference.prompt, "seed": 1, **self.method.training}

    def training_key(self):
        """None where nothing is trained."""
        if self.method.training is None:
            return None
        return kept.digest(self.settings.model_digest, self.settings.train_config,
                           self.settings.train_set, kept.digest(*clip_values(self.reference.clip)),
                           self.training())

    def videos(self):
        """(prompt, seed, path, key) of every video."""
        settings, training = self.settings, self.training_key()
        reference = [*clip_values(self.reference.clip), settings.noise_prior] \
            if self.method.prior else None
        for prompt in self.reference.prompts:
            for seed in prompt["seeds"]:
                key = kept.digest(settings.model_digest, settings.infer_config, settings.infer_set,
                                  training, reference, prompt["prompt"], seed)
                yield prompt, seed, self.folder / f"{seed}.mp4", key

    def train(self):
        """Whether there was anything to do. A training that was stopped goes on."""
        key = self.training_key()
        if kept.is_kept(self.run, key):
            return False
        started, tool = self.run.with_name("run.started"), self.settings.tools / "mm-train"
        machine = ["--quiet", *kept.options({"threads": self.settings.threads})]
        self.folder.mkdir(parents=True, exist_ok=True)
        if kept.is_kept(started, key) and (self.run / "config.json").exists():
            kept.call(tool, "--resume", self.run, *machine)
        else:
            kept.remove(self.run)
            started.touch()
            kept.keep(started, key)
            kept.call(tool, "--config", self.settings.train_config, *machine, *kept.options({
                "model": self.settings.model, "video": self.clip, "output-dir": self.run,
                **self.training()}), *sets(self.settings.train_set))
        kept.keep(self.run, key)
        return True

    def source(self):
        """Where mm-infer takes model, LoRA and start from."""
        prior = {"noise-prior": self.settings.noise_prior if self.method.prior else 0}
        if self.method.training is not None:
            return {"checkpoint-folder": self.run, **prior}
        reference = {"reference": self.clip} if self.method.prior else {}
        return {"model": self.settings.model, **reference, **prior}

    def work(self, progress):
        if self.method.training is not None:
            started = time.monotonic()
            worked = self.train()
            progress.done("trainings", self.name, time.monotonic() - started if worked else None)
        for prompt, seed, path, key in self.videos():
            started = time.monotonic()
            worked = kept.sample(
                self.settings.tools / "mm-infer", path, key,
                ["--config", self.settings.infer_config, *sets(self.settings.infer_set),
                 *kept.options({"prompt": prompt["prompt"], "seed": seed,
                                "threads": self.settings.threads, **self.source()})])
            progress.done("videos", f"{self.name}: {prompt['prompt']}",
                          time.monotonic() - started if worked else None)

    def results(self):
        """What was measured on the videos that are there."""
        for prompt, seed, path, key in self.videos():
            if not kept.is_kept(path, key):
                continue
            seen = detect.analyse(detect.read_video(path))
            yield {"reference": self.reference.name, "method": self.method_name, "seed": seed,
                   "prompt": prompt["prompt"], "path": str(path.relative_to(self.settings.output)),
                   "figures": figures.video_figures(self.reference.clip, prompt, seen)}


def sets(pairs):
    return [word for pair in pairs for word in ("--set", pair)]


def clip_values(clip):
    return [str(value) for value in (clips.ground_truth(clip), clip.phase)]


def noise_prior(settings):
    """What the training's config says: the samples of the claims start as those of a training."""
    command = [settings.tools / "mm-train", "--quiet", "--config", settings.train_config,
               *sets(settings.train_set), *kept.options({
                   "model": settings.model, "video": "none.mp4", "prompt": "none",
                   "output-dir": "none"}), "--print-config"]
    return json.loads(kept.call(*command))["noise_prior"]


def write_references(settings, references):
    for reference in references:
        folder = settings.output / reference.name
        key = kept.digest(*clip_values(reference.clip))
        if not kept.is_kept(folder / "reference.mp4", key):
            folder.mkdir(parents=True, exist_ok=True)
            clips.write_clip(reference.clip, folder / "reference")
            kept.keep(folder / "reference.mp4", key)


def show_plan(units):
    for reference in {unit.reference.name: unit.reference for unit in units}.values():
        print(f"{reference.name}: {reference.prompt}")
        for prompt in reference.prompts:
            print(f"    {prompt['prompt']}, seeds {prompt['seeds']}")
    trainings = [unit for unit in units if unit.method.training is not None]
    trained = sum(kept.is_kept(unit.run, unit.training_key()) for unit in trainings)
    videos = [kept.is_kept(path, key) for unit in units for _, _, path, key in unit.videos()]
    print(f"{len(trainings)} trainings, {trained} of them done; "
          f"{len(videos)} videos, {sum(videos)} of them done")


def work_all(settings, units):
    """Returns what failed: a training that diverges must not stop the others."""
    trainings = sum(unit.method.training is not None for unit in units)
    videos = sum(1 for unit in units for _ in unit.videos())
    progress = kept.Progress({"trainings": trainings, "videos": videos}, settings.jobs)
    failures = []
    pool = concurrent.futures.ThreadPoolExecutor(settings.jobs)
    jobs = {pool.submit(unit.work, progress): unit for unit in units}
    try:
        for job in concurrent.futures.as_completed(jobs):
            try:
                job.result()
            except kept.ToolFailed as failure:
                failures.append(f"{jobs[job].name}: {failure}")
                print(failures[-1], file=sys.stderr, flush=True)
    finally:
        pool.shutdown(cancel_futures=True)
    return failures


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--tools", type=pathlib.Path, required=True,
                        help="folder of mm-train and mm-infer")
    parser.add_argument("--model", type=pathlib.Path, default=DEMO)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--references", type=int, default=12, help="how many (default 12)")
    parser.add_argument("--methods", nargs="+", choices=tuple(plan.METHODS), metavar="METHOD",
                        default=list(plan.METHODS), help=f"of {', '.join(plan.METHODS)}")
    parser.add_argument("--train-config", type=pathlib.Path, default=DEMO / "mm-train.yaml")
    parser.add_argument("--infer-config", type=pathlib.Path, default=DEMO / "mm-infer.yaml")
    for tool in ("train", "infer"):
        parser.add_argument(f"--{tool}-set", action="append", default=[], metavar="KEY=VALUE",
                            help=f"changes one setting of mm-{tool}; repeatable")
    parser.add_argument("--jobs", type=int, default=1, help="methods at a time (default 1)")
    parser.add_argument("--threads", type=int, default=0, help="threads of each (default: all)")
    parser.add_argument("--dry-run", action="store_true", help="print what would be done")
    parser.add_argument("--report-only", action="store_true",
                        help="measure the videos that are there")
    return parser.parse_args()


def locked(folder):
    """Keeps a second call out of the same folder; the lock ends with the process."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = open(folder / ".lock", "w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f"{folder}: another run works here")
    return lock


def main():
    settings = parse()
    settings.model_digest = kept.model_digest(settings.model)
    settings.noise_prior = noise_prior(settings)
    references = plan.references(settings.references)
    methods = list(settings.methods)
    if settings.noise_prior == 0 and "base-prior" in methods:
        methods.remove("base-prior")  # the same as base
    units = [Unit(settings, reference, name) for reference in references for name in methods]
    if settings.dry_run:
        return show_plan(units)
    lock = locked(settings.output)
    write_references(settings, references)
    failures = [] if settings.report_only else work_all(settings, units)
    results = [result for unit in units for result in unit.results()]
    if not results:
        sys.exit("no video is there to be measured")
    print(report.write(settings.output, results, failures))
    lock.close()
    return 1 if failures else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
