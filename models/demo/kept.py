# SPDX-License-Identifier: BSD-2-Clause
"""Work that survives being stopped: results are kept beside a key, the digest of all that they
follow from, and are made again only where the key differs."""
import ctypes
import hashlib
import json
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time


def digest(*parts):
    """SHA-256 over values of JSON and contents of files."""
    total = hashlib.sha256()
    for part in parts:
        content = part.read_bytes() if isinstance(part, pathlib.Path) else json.dumps(part).encode()
        total.update(hashlib.sha256(content).digest())
    return total.hexdigest()


def model_digest(folder):
    """Of the parts that tools open: notes beside them change nothing."""
    parts = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
    files = sorted(path for part in parts for path in (folder / part).glob("*") if path.is_file())
    if not files:
        sys.exit(f"{folder} holds no model: make it with models/demo's scripts, or see --model")
    return digest(*(str(path.relative_to(folder)) for path in files), *files)


def key_file(path):
    return path.with_name(path.name + ".key")


def is_kept(path, key):
    return path.exists() and key_file(path).exists() and key_file(path).read_text() == key


def keep(path, key):
    key_file(path).write_text(key)


def remove(path):
    key_file(path).unlink(missing_ok=True)
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


class ToolFailed(Exception):
    pass


def die_with_parent():
    """A tool whose caller was killed must not write on while a second call takes its work up."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def call(*command):
    """Runs a tool and returns what it said."""
    command = [str(word) for word in command]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          preexec_fn=die_with_parent)
    if done.returncode != 0:
        raise ToolFailed(f"exit status {done.returncode} from: {' '.join(command)}\n{done.stdout}")
    return done.stdout


def options(settings):
    """A dictionary of a tool's options as words of its command line."""
    return [word for name, value in settings.items() for word in (f"--{name}", value)]


def sample(tool, path, key, arguments):
    """Draws one video with mm-infer, unless it is kept. Whether there was anything to do."""
    if is_kept(path, key):
        return False
    remove(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    call(tool, "--quiet", "--output", path, *arguments)
    keep(path, key)
    return True


class Progress:
    """Counts jobs of several kinds on stderr and tells the time left from those done so far."""

    def __init__(self, totals, workers=1):
        self.left, self.spent, self.workers = dict(totals), {kind: [] for kind in totals}, workers
        self.lock = threading.Lock()

    def done(self, kind, name, seconds):
        """One job is done; `seconds` is None where it had been kept."""
        with self.lock:
            self.left[kind] -= 1
            if seconds is not None:
                self.spent[kind].append(seconds)
                print(f"{time.strftime('%H:%M:%S')} {kind} {name}: {seconds:.0f} s; "
                      f"{self.remaining()}", file=sys.stderr, flush=True)

    def remaining(self):
        counts = ", ".join(f"{count} {kind}" for kind, count in self.left.items())
        unknown = [kind for kind, count in self.left.items() if count and not self.spent[kind]]
        if unknown:
            return f"left: {counts}"
        seconds = sum(count * sum(self.spent[kind]) / len(self.spent[kind])
                      for kind, count in self.left.items() if count) / self.workers
        return f"left: {counts}, about {seconds / 60:.0f} min"
