# SPDX-License-Identifier: BSD-2-Clause
"""Tables, picture and JSON of all videos' figures."""
import dataclasses
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


@dataclasses.dataclass(frozen=True)
class Claim:
    title: str
    statistic: object  # of the first method's figures and the second's
    first: str
    second: str
    figure: str
    wanted: float
    apart: bool = False  # the two methods' own intervals must not overlap


MOTION_RATIO = "motion discrepancy, {} over MotionMatcher"
CLAIMS = (
    Claim(MOTION_RATIO.format("base model") + ", intervals apart", ratio, "base", "motionmatcher",
          "motion", 3, apart=True),
    Claim(MOTION_RATIO.format("base model with noise prior"), ratio, "base-prior", "motionmatcher",
          "motion", 1),
    Claim("text accuracy, MotionMatcher over base model", ratio, "motionmatcher", "base", "text",
          0.95),
    Claim(MOTION_RATIO.format("DDPM objective"), ratio, "ddpm", "motionmatcher", "motion", 1),
    Claim("appearance leak, DDPM objective minus MotionMatcher", difference, "ddpm",
          "motionmatcher", "leak", 0),
    Claim(MOTION_RATIO.format("without TSA"), ratio, "without-tsa", "motionmatcher", "motion", 1),
    Claim(MOTION_RATIO.format("without CA"), ratio, "without-ca", "motionmatcher", "motion", 1),
    Claim("placement error, without CA over MotionMatcher", ratio, "without-ca", "motionmatcher",
          "placement", 1),
)


def apart(results, claim):
    first, second = (method_figures(results, method)[claim.figure]
                     for method in (claim.first, claim.second))
    return bool(first["low"] > second["high"])


def claims(results):
    """What every claim comes to. Met: above what is wanted; sure: its whole interval is."""
    rows = []
    for claim in CLAIMS:
        found = compared(results, claim.statistic, claim.first, claim.second, claim.figure)
        if not found:
            continue
        met = found["value"] > claim.wanted and (not claim.apart or apart(results, claim))
        rows.append({"claim": claim.title, "wanted": claim.wanted, **found, "met": met,
                     "sure": found["references"] > 1 and found["low"] > claim.wanted})
    return rows


def with_interval(figure, key, scale, digits):
    """One reference alone has no interval."""
    value, low, high = (f"{scale * figure[k]:.{digits}f}" for k in (key, "low", "high"))
    return f"{value} ({low} to {high})" if figure["references"] > 1 else value


def cell(figure, scale):
    return with_interval(figure, "mean", scale, 1 if scale > 1 else 2) if figure else ""


def table(figures, columns):
    lines = ["| | " + " | ".join(title for _, title, _ in columns) + " |",
             "|---|" + "---|" * len(columns)]
    for method, found in figures.items():
        cells = " | ".join(cell(found.get(figure), scale) for figure, _, scale in columns)
        lines.append(f"| {plan.METHODS[method].title} | {cells} |")
    return "\n".join(lines)


def claims_table(rows):
    lines = ["| claim | wanted: above | found | met | sure |", "|---|---|---|---|---|"]
    for row in rows:
        marks = " | ".join("yes" if row[key] else "no" for key in ("met", "sure"))
        lines.append(f"| {row['claim']} | {row['wanted']:g} | "
                     f"{with_interval(row, 'value', 1, 2)} | {marks} |")
    return "\n".join(lines)


def counts_table(figures):
    lines = ["| | references | videos | without an object | frames carried over, % |",
             "|---|---|---|---|---|"]
    for name, found in figures.items():
        lines.append(f"| {plan.METHODS[name].title} | {found['motion']['references']} | "
                     f"{found['videos']} | {found['without_object']} | "
                     f"{100 * found['frames_carried']:.1f} |")
    return "\n".join(lines)


def markdown(figures, rows, failures):
    parts = ["Motion: discrepancies x 1000, lower is better; 95 % intervals over the references.",
             table(figures, MOTION), "Text and leak, in %.", table(figures, TEXT),
             claims_table(rows), counts_table(figures)]
    if failures:
        parts.append("Failed:\n\n" + "\n".join(f"    {line}" for failure in failures
                                               for line in failure.splitlines()))
    return "\n\n".join(parts) + "\n"


def scatter(axes, ticker, results, figures, figure, title):
    """The figure of every method against its motion, with both intervals; faint: one reference."""
    for number, (method, found) in enumerate(figures.items()):
        x, y = found["motion"], found[figure]
        single = [list(by_reference(results, method, key).values()) for key in ("motion", figure)]
        axes.scatter(single[0], 100 * np.array(single[1]), s=12, color=f"C{number}", alpha=0.35,
                     linewidths=0)
        axes.errorbar(x["mean"], 100 * y["mean"],
                      xerr=[[x["mean"] - x["low"]], [x["high"] - x["mean"]]],
                      yerr=[[100 * (y["mean"] - y["low"])], [100 * (y["high"] - y["mean"])]],
                      fmt="o", color=f"C{number}", capsize=3, label=plan.METHODS[method].title)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.set_xlabel("motion discrepancy (lower is better)")
    axes.set_ylabel(title)
    axes.set_ylim(-4, 104)
    axes.grid(alpha=0.3)


def draw(path, results, figures):
    """Whether there is a library to draw with."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib import ticker

    sheet, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    scatter(left, ticker, results, figures, "text", "colour, shape and background right, %")
    scatter(right, ticker, results, figures, "leak", "reference's colour or shape comes back, %")
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
    if not draw(folder / "claims.png", results, figures):
        print("no picture: matplotlib is not installed", file=sys.stderr)
    return text
