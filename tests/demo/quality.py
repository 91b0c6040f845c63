# SPDX-License-Identifier: BSD-2-Clause
"""quality.py DEMO_DIRECTORY: the list of prompts and the intervals of models/demo/quality.py, and
which work is done again."""
import collections
import pathlib
import stat
import sys
import tempfile

sys.path.insert(0, sys.argv[1])
import clips  # noqa: E402
import intervals  # noqa: E402
import kept  # noqa: E402
import quality  # noqa: E402


def test_prompts():
    listed = quality.prompts(96)
    pairs = collections.Counter((p["colour"], p["shape"]) for p in listed if p["held_out"])
    assert len(pairs) == 24 and set(pairs.values()) == {3}
    backgrounds = collections.Counter(p["background"] for p in listed)
    assert set(backgrounds) == set(clips.BACKGROUNDS) and min(backgrounds.values()) >= 13
    assert len({p["seed"] for p in listed}) == len({p["prompt"] for p in listed}) == 96
    known = {w.format(**p) for p in listed for w in clips.WORDINGS}
    assert all((p["prompt"] in known) != p["held_out"] for p in listed)
    assert quality.prompts(30) == listed[:30]


def test_intervals():
    low, high = intervals.wilson(8, 10)  # by hand: (1.1921 +- 0.2770 * 0.9616 ...) / 1.3841
    assert abs(low - 0.4902) < 1e-3 and abs(high - 0.9433) < 1e-3
    assert intervals.wilson(5, 5)[1] > 1 - 1e-9 and intervals.wilson(0, 5)[0] < 1e-9
    mean, low, high = intervals.mean_interval([1, 2, 3, 4, 5, 6])
    assert mean == 3.5 and 2 < low < 3.5 < high < 5
    assert intervals.mean_interval([1, 2, 3, 4, 5, 6]) == (mean, low, high)
    assert intervals.mean_interval([2, 2, 2]) == (2, 2, 2)


def test_kept():
    """A stand-in for the tool counts its calls: one a key."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        tool, path = folder / "tool", folder / "out" / "a.mp4"
        tool.write_text('#!/bin/sh\n[ "$4" = good ] || { echo refused; exit 3; }\n'
                        'echo called >> "$3"\n')
        tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
        assert kept.sample(tool, path, "first", ["good"])
        assert not kept.sample(tool, path, "first", ["good"])
        assert kept.sample(tool, path, "second", ["good"]) and path.read_text() == "called\n"
        try:
            kept.sample(tool, path, "third", ["bad"])
        except kept.ToolFailed as failure:
            assert "refused" in str(failure) and "status 3" in str(failure)
        else:
            raise AssertionError("a failure went unseen")
        assert not kept.is_kept(path, "third") and not kept.is_kept(path, "second")
        assert kept.digest("a", 1) == kept.digest("a", 1) != kept.digest("a1")


test_prompts()
test_intervals()
test_kept()
