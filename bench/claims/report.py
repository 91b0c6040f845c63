# SPDX-License-Identifier: BSD-2-Clause
"""Tables, picture and JSON of all videos' figures."""
import json
import sys

import numpy as np

import intervals
import plan

# Figure, its title in the tables, and what it is multiplied with there.
MOTION = (("motion", "motion discrepancy", 1000), ("object", "object's track", 1000),
          ("ground", "ground points", 1000), ("path", "object's path alone", 1000),
          ("placement", "placement, px", 1))
TEXT = (("colour", "colour", 100), ("shape", "shape", 100), ("background", "background", 100),
        ("text", "all three", 100), ("leak_colour", "colour leaks", 100),
        ("leak_shape", "shape leaks", 100), ("leak", "either leaks", 100),
        ("single", "frames with one object", 100))


def by_reference(results, method, figure):
    """The figure's mean over the method's videos of every reference that has it."""
    values = {}
    for result in results:
        if result["method"] == method and figure in result["figures"]:
            values.setdefault(result["reference"], []).append(result["figures"][figure])
    return {name: float(np.mean(found)) for name, found in values.items()}


def paired(results, first, second, figure):
    """Two methods' values of the figure, a column each, on the references that both have."""
    one, other = (by_reference(results, method, figure) for method in (first, second))
    both = sorted(one.keys() & other.keys())
    return [one[name] for name in both], [other[name] for name in both]


def method_figures(results, method):
    """Mean and interval of every figure, and counts."""
    own = [result["figures"] for result in results if result["method"] == method]
    found = {"videos": len(own), "without_object": int(sum(f["missing"] for f in own)),
             "frames_carried": float(np.mean([f["carried"] for f in own]))}
    for figure, _, _ in MOTION + TEXT:
        values = list(by_reference(results, method, figure).values())
        if values:
            mean, low, high = intervals.mean_interval(values)
            found[figure] = {"mean": mean, "low": low, "high": high, "references": len(values)}
    return found


def ratio(first, second):
    """Not a number or infinite where the second is 0 throughout."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return first.mean(-1) / second.mean(-1)


def difference(first, second):
    return first.mean(-1) - second.mean(-1)


def compared(results, statistic, first, second, figure):
    """A statistic of two methods' figures on the same references, and its interval; None where
    there is none."""
    one, other = paired(results, first, second, figure)
    value = float(statistic(np.array(one), np.array(other))) if one else np.nan
    if not np.isfinite(value):
        return None
    low, high = intervals.bootstrap(statistic, one, other)
    return {"value": value, "low": low, "high": high, "references": len(one)}


def claims(results):
    """Every claim: what is compared, what it must reach, what it is, whether it does. Apart: the
    whole interval is on the right side."""
    motion = "motionmatcher"
    listed = (
        ("motion discrepancy, base model over MotionMatcher", ratio, "base", motion, "motion", 3),
        ("the same against the base model with the noise prior", ratio, "base-prior", motion,
         "motion", 1),
        ("text accuracy, MotionMatcher over base model", ratio, motion, "base", "text", 0.95),
        ("motion discrepancy, DDPM objective over MotionMatcher", ratio, "ddpm", motion, "motion",
         1),
        ("appearance leak, DDPM objective minus MotionMatcher", difference, "ddpm", motion, "leak",
         0),
        ("motion discrepancy, without TSA over MotionMatcher", ratio, "without-tsa", motion,
         "motion", 1),
        ("placement error, without CA over MotionMatcher", ratio, "without-ca", motion, "placement",
         1))
    rows = []
    for title, statistic, first, second, figure, wanted in listed:
        found = compared(results, statistic, first, second, figure)
        if found:
            rows.append({"claim": title, "wanted": wanted, **found,
                         "met": found["value"] >= wanted, "apart": found["low"] > wanted})
    return rows


def cell(figure, scale):
    if figure is None:
        return ""
    low, mean, high = (scale * figure[key] for key in ("low", "mean", "high"))
    digits = 1 if scale > 1 else 2
    return f"{mean:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def table(figures, columns):
    lines = ["| | " + " | ".join(title for _, title, _ in columns) + " |",
             "|---|" + "---|" * len(columns)]
    for method, found in figures.items():
        cells = " | ".join(cell(found.get(figure), scale) for figure, _, scale in columns)
        lines.append(f"| {plan.METHODS[method].title} | {cells} |")
    return "\n".join(lines)


def claims_table(rows):
    lines = ["| claim | wanted | found | met | whole interval |", "|---|---|---|---|---|"]
    for row in rows:
        marks = " | ".join("yes" if row[key] else "no" for key in ("met", "apart"))
        lines.append(f"| {row['claim']} | at least {row['wanted']:g} | {row['value']:.2f} "
                     f"({row['low']:.2f} to {row['high']:.2f}) | {marks} |")
    return "\n".join(lines)


def counts_line(figures):
    parts = [f"{plan.METHODS[name].title}: {found['videos']} videos, {found['without_object']} "
             f"without an object, {100 * found['frames_carried']:.1f} % of frames carried over"
             for name, found in figures.items()]
    return "; ".join(parts) + "."


def markdown(figures, rows, failures):
    parts = ["Motion: discrepancies x 1000, lower is better; 95 % intervals over the references.",
             table(figures, MOTION), "Text and leak, in %.", table(figures, TEXT),
             claims_table(rows), counts_line(figures)]
    if failures:
        parts.append("Failed:\n\n" + "\n".join(f"    {line}" for failure in failures
                                               for line in failure.splitlines()))
    return "\n\n".join(parts) + "\n"


def scatter(axes, figures, figure, title):
    """The figure of every method against its motion, with both intervals."""
    for number, (method, found) in enumerate(figures.items()):
        x, y = found["motion"], found[figure]
        axes.errorbar(x["mean"], 100 * y["mean"],
                      xerr=[[x["mean"] - x["low"]], [x["high"] - x["mean"]]],
                      yerr=[[100 * (y["mean"] - y["low"])], [100 * (y["high"] - y["mean"])]],
                      fmt="o", color=f"C{number}", capsize=3, label=plan.METHODS[method].title)
    axes.set_xscale("log")
    axes.set_xlabel("motion discrepancy (lower is better)")
    axes.set_ylabel(title)
    axes.set_ylim(-4, 104)
    axes.grid(alpha=0.3)


def draw(path, figures):
    """Whether there is a library to draw with."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    sheet, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    scatter(left, figures, "text", "colour, shape and background right, %")
    scatter(right, figures, "leak", "reference's colour or shape comes back, %")
    left.legend(loc="lower left", fontsize="small")
    sheet.savefig(path, dpi=120)
    plt.close(sheet)
    return True


def write(folder, results, failures):
    """Writes claims.md, claims.json and claims.png; returns the tables."""
    methods = [name for name in plan.METHODS if any(r["method"] == name for r in results)]
    figures = {name: method_figures(results, name) for name in methods}
    rows = claims(results)
    text = markdown(figures, rows, failures)
    (folder / "claims.md").write_text(text)
    (folder / "claims.json").write_text(json.dumps(
        {"methods": figures, "claims": rows, "failures": failures, "videos": results}, indent=1)
        + "\n")
    if not draw(folder / "claims.png", figures):
        print("no picture: matplotlib is not installed", file=sys.stderr)
    return text
