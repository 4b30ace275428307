"""Does the trust score separate true maps from broken maps? Fitted on one set of photographs, tested on another.

    python benchmarks/trust.py DATA [--model efficientnet-lite0] [--method cam] [--most 300] [--fitted] [--kept FILE]

DATA/samples/labels.csv (file, class_index) with images/: the first set. DATA/val-boxes as for benchmarks/fit_size.py:
the second set, in their own shape. At most `--most` photographs of each set are used, of the second set at random. For
every photograph the map of the predicted class is measured, and maps that are broken in one of three ways:

    class    the map of a random class
    shifted  the true map, moved by a third of its height and width
    random   noise as coarse as the map

Each is measured in two variants. `once`: only the finished map is replaced, and the mirror image is explained with the
correct method. `always`: the method is always wrong in the same way, also for the mirror image. The map of the
second-best class is measured too, to show what the score cannot detect.

Confident and right: the model predicts the true class with a score of at least 0.5. The fit uses the true maps of these
photographs of the first set and all their broken maps, with half of the weight each. A map is flagged if its verdict is
doubtful. Printed: AUROC of each signal, coefficients, shares of flagged maps for each set, for confident and right
answers and for all; and how often the maps in each bin of probability were true.

--fitted: use the built-in coefficients, not those of this run. --kept: files of that name store the measurements, and
are read if they exist.
"""

import argparse
import csv
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from fit_size import boxed

import camserve
from camserve.explain import open_photo
from camserve.explain.questioned import subject_of
from camserve.explain.trusting import disagrees
from camserve.geometry.frame import native
from camserve.metrics import trust as built_in
from camserve.metrics.randomisation import pearson
from camserve.metrics.subject import Subject

BROKEN = tuple(f"{kind} {often}" for kind in ("class", "shifted", "random") for often in ("once", "always"))
RUNNER_UP = ("runner-up once", "runner-up always")
TRUE, CONFIDENT = "true", 0.5
BINS = (0.0, 0.02, 0.1, 0.3, 0.7, 0.9, 0.98, 1.0)

Row = dict[str, Any]


def shifted(heat: np.ndarray) -> np.ndarray:
    """Move heat (H, W) by a third in both directions; what leaves comes back on the other side."""
    return np.roll(heat, (round(heat.shape[0] / 3), round(heat.shape[1] / 3)), (0, 1))


def broken(model: camserve.Model, photo: Any, found: Any, number: int) -> Iterator[tuple[str, Subject]]:
    """Yield the true subject and each broken one, by name. found: of the class, a random class, the second class."""
    true, other, runner = (subject_of(model, one.attribution, photo) for one in found)
    place = replace(found[0].placement, frame=native(found[0].placement.frame.input))
    noise = np.random.default_rng(number).normal(size=found[0].map.shape).astype(np.float32)
    coarse = place.rows(noise, 0, true.images.shape[2])
    assert true.explain is not None
    own = true.explain
    yield TRUE, true
    for kind, heat, wrongly in (
        ("class", other.heat, other.explain),
        ("shifted", shifted(true.heat), lambda images: shifted(own(images))),
        ("random", coarse, lambda images: coarse),
        ("runner-up", runner.heat, runner.explain),
    ):
        yield f"{kind} once", replace(true, map=heat, heat=heat)
        yield f"{kind} always", replace(true, map=heat, heat=heat, explain=wrongly)


def measured(model: camserve.Model, image: Any, index: int, number: int, method: str) -> Row:
    """Return the results of `trust` for one photograph's maps."""
    photo = open_photo(model, image)
    best = model.explain(photo, method=method)
    first, second = best.top(2)
    other = int(np.random.default_rng(number).choice(np.delete(np.arange(len(model.labels)), first.class_index)))
    targets = [first.class_index, other, second.class_index]
    found = [model.explain(photo, target=target, method=method) for target in targets]

    def work() -> dict[str, Any]:
        said, places, true = {}, None, None
        for name, subject in broken(model, photo, found, number):
            if name.endswith(" always") and places is not None and places.before is not None:  # the heat is the same
                one = replace(places, mirror=built_in.mirrored(subject))
            else:
                one = places = built_in.trust(subject)
            true = subject if name == TRUE else true
            said[name] = {**one.to_dict(), "likeness": pearson(true.positive, subject.positive)}
        return said

    return {"right": first.class_index == index, "score": first.score, "maps": model.workers.run(work)}


def photographs(data: Path, which: str, count: int) -> Iterator[tuple[Any, int]]:
    """Yield each photograph of a set, with its class."""
    if which == "first":
        listed = list(csv.DictReader((data / "samples/labels.csv").open()))
        for row in listed[:: max(1, len(listed) // count)]:
            yield data / "samples/images" / row["file"], int(row["class_index"])
        return
    rows = boxed(data)
    for place in np.random.default_rng(0).permutation(len(rows))[:count]:
        yield rows[place][0], rows[place][1]


def logistic(signals: np.ndarray, is_true: np.ndarray, weights: np.ndarray, ridge: float = 1.0) -> np.ndarray:
    """Fit coefficients (1 + S,), constant first, by Newton's method. signals: (M, S). ridge: not on the constant."""
    given = np.column_stack([np.ones(len(signals)), signals])
    found, held = np.zeros(given.shape[1]), np.diag([0.0] + [ridge] * signals.shape[1])
    for _ in range(100):
        said = 1 / (1 + np.exp(-given @ found))
        slope = given.T @ (weights * (said - is_true)) + held @ found
        found = found - np.linalg.solve((given * (weights * said * (1 - said))[:, None]).T @ given + held, slope)
    return found


def auroc(high: np.ndarray, low: np.ndarray) -> float:
    """Return how often a value of `high` is larger than a value of `low`."""
    return float((high[:, None] > low[None]).mean() + (high[:, None] == low[None]).mean() / 2)


def said(maps: Mapping[str, Any], name: str) -> Any:
    """Return one map's measurement as `Trust`."""
    facts = {key: value for key, value in maps[name].items() if key not in ("sentence", "likeness")}
    return built_in.Trust(**{**facts, "kept": tuple(facts["kept"]), "removed": tuple(facts["removed"])})


def signals_of(rows: Sequence[Row], name: str, *, mirror: bool) -> np.ndarray:
    """Return the signals of one kind of map, (measured photographs, signals)."""
    found = [said(row["maps"], name) for row in rows]
    measured = [one if mirror else replace(one, mirror=None) for one in found if one.kept]
    return np.array([built_in.signals(one) for one in measured])


def fitted(rows: Sequence[Row], *, mirror: bool) -> tuple[np.ndarray, float]:
    """Return coefficients, and the probability below which a map is flagged. On the scale of log odds it lies half way
    between the 5 % quantile of the true maps and the 95 % quantile of the broken maps, but never above the former.
    """
    kinds = BROKEN if mirror else BROKEN[::2]
    true = signals_of(rows, TRUE, mirror=mirror)
    wrong = np.concatenate([signals_of(rows, kind, mirror=mirror) for kind in kinds])
    given, is_true = np.concatenate([true, wrong]), np.repeat([1.0, 0.0], [len(true), len(wrong)])
    weights = np.repeat([1.0, len(true) / len(wrong)], [len(true), len(wrong)])
    found = logistic(given, is_true, weights)
    odds = found[0] + given @ found[1:]
    least, most = np.quantile(odds[: len(true)], 0.05), np.quantile(odds[len(true) :], 0.95)
    return found.round(2), float(np.round(1 / (1 + np.exp(-min(least, (least + most) / 2))), 2))


def report(name: str, rows: Sequence[Row], *, mirror: bool) -> None:
    """Print how one set is judged with the current coefficients."""
    kinds = (*BROKEN, *RUNNER_UP) if mirror else (*BROKEN[::2], RUNNER_UP[0])
    found = {kind: [said(row["maps"], kind) for row in rows] for kind in (TRUE, *kinds)}
    judged = {
        kind: [built_in.judged(one if mirror else replace(one, mirror=None)) if one.kept else one for one in several]
        for kind, several in found.items()
    }
    able = {kind: [one for one in several if one.probability is not None] for kind, several in judged.items()}
    chance = {kind: np.array([one.probability for one in several]) for kind, several in able.items()}
    print(f"\n{name}, {'with' if mirror else 'without'} the mirror image: {len(rows)} photographs")
    print(f"  {'map':18s} {'flagged':>8s} {'trusted':>8s} {'cannot':>8s} {'AUROC':>8s}")
    for kind, several in judged.items():
        shares = [np.mean([one.verdict == verdict for one in several]) for verdict in VERDICTS]
        apart = "" if kind == TRUE else f"{auroc(chance[TRUE], chance[kind]):8.3f}"
        print(f"  {kind:18s} " + " ".join(f"{share:8.3f}" for share in shares) + f" {apart}")
    wrong = np.concatenate([chance[kind] for kind in kinds if kind in BROKEN])
    flagged = np.mean([one.verdict == built_in.DOUBTFUL for kind in kinds if kind in BROKEN for one in judged[kind]])
    print(f"  all broken: flagged {flagged:.3f}, AUROC {auroc(chance[TRUE], wrong):.3f}")
    calibration(chance[TRUE], wrong)


def calibration(true: np.ndarray, wrong: np.ndarray) -> None:
    """Print the share of true maps in each bin of probability, if one map in two were broken."""
    print(f"  {'probability':>14s} {'said':>6s} {'are true':>9s} {'true':>6s} {'broken':>7s}")
    squares = (np.square(1 - true).mean() + np.square(wrong).mean()) / 2
    for low, high in pairwise(BINS):
        own, others = ((p >= low) & ((p < high) | (high == 1)) for p in (true, wrong))
        mass = own.sum() / len(true), others.sum() / len(wrong)
        if sum(mass) > 0:
            mean = (true[own].sum() / len(true) + wrong[others].sum() / len(wrong)) / sum(mass)
            print(
                f"  {low:6.2f} to {high:4.2f} {mean:6.2f} {mass[0] / sum(mass):9.2f} {own.sum():6d} {others.sum():7d}"
            )
    print(f"  Brier score {squares:.3f} (0.25 is chance)")


def by_likeness(name: str, rows: Sequence[Row]) -> None:
    """Print how many 'class always' maps are flagged, by their correlation with the true map."""
    print(f"\n{name}: 'class always', by its correlation with the true map")
    print(f"  {'correlation':>14s} {'maps':>6s} {'flagged':>8s}")
    for low, high in pairwise((-1.0, 0.0, 0.3, 0.6, 0.8, 0.9, 1.01)):
        own = [row["maps"] for row in rows if low <= row["maps"]["class always"]["likeness"] < high]
        verdicts = [built_in.judged(said(maps, "class always")).verdict for maps in own if maps["class always"]["kept"]]
        if verdicts:
            flagged = np.mean([verdict == built_in.DOUBTFUL for verdict in verdicts])
            print(f"  {low:6.1f} to {min(high, 1):4.1f} {len(own):6d} {flagged:8.3f}")


def of_each_signal(name: str, rows: Sequence[Row]) -> None:
    """Print the AUROC of each signal alone, for each kind of broken map."""
    true = signals_of(rows, TRUE, mirror=True)
    print(f"\n{name}: AUROC of each signal alone\n  {'map':18s} {'places':>8s} {'mirror':>8s}")
    for kind in (*BROKEN, *RUNNER_UP):
        wrong = signals_of(rows, kind, mirror=True)
        print(f"  {kind:18s} " + " ".join(f"{auroc(true[:, one], wrong[:, one]):8.3f}" for one in range(2)))


VERDICTS = built_in.DOUBTFUL, built_in.TRUSTED, built_in.CANNOT_TELL


def measurements(options: argparse.Namespace, which: str) -> list[Row]:
    """Return the measurements of a set's photographs, new or read from kept files."""
    kept = None if options.kept is None else options.kept.with_suffix(f".{which}.json")
    if kept is not None and kept.exists():
        rows: list[Row] = json.loads(kept.read_text())
        return rows
    model = loaded(options)
    photos = photographs(options.data, which, options.most)
    rows = [measured(model, *one, number, options.method) for number, one in enumerate(photos)]
    if kept is not None:
        kept.write_text(json.dumps(rows))
    return rows


def loaded(options: argparse.Namespace) -> camserve.Model:
    """Load the model that the command line names."""
    own = {"weights": options.weights} if options.weights else {}
    return camserve.load(options.model, **own, **json.loads(options.input))


def clocked(options: argparse.Namespace) -> None:
    """Print the time that trust adds to a plain explanation: alternately on each photograph, the best of three."""
    model, plain, more = loaded(options), [], []
    for image, _ in photographs(options.data, "first", options.time):
        taken: dict[bool, list[float]] = {False: [], True: []}
        for trust in [False, True] * 4:
            start = time.process_time()
            model.explain(image, method=options.method, trust=trust)
            taken[trust].append(time.process_time() - start)
        plain.append(min(taken[False][1:]))
        more.append(min(taken[True][1:]) - plain[-1])
    ratio = np.quantile(np.array(more) / np.array(plain), (0.25, 0.5, 0.75))
    print(
        f"{model.engine.name}, processor time of {len(plain)} photographs: plain {1000 * np.median(plain):.1f} ms,",
        end=" ",
    )
    print(
        f"trust {1000 * np.median(more):.1f} ms more: {ratio[1]:.2f} times (quartiles {ratio[0]:.2f}, {ratio[2]:.2f})"
    )


def added_up(options: argparse.Namespace) -> None:
    """Print how many maps of each kind do not add up to their logit although they must; see `disagrees`."""
    model = loaded(options)
    for which in ("first", "second"):
        found: dict[str, list[bool]] = {TRUE: [], "class": [], "shifted": [], "random": []}
        for number, (image, _) in enumerate(photographs(options.data, which, options.most)):
            true, rng = model.explain(image, method=options.method).attribution, np.random.default_rng(number)
            other = int(rng.choice(np.delete(np.arange(len(model.labels)), true.class_index)))
            noise = rng.normal(size=true.map.shape).astype(np.float32)
            wrong = model.explain(image, target=other, method=options.method).map
            for kind, grid_map in (
                (TRUE, true.map),
                ("class", wrong),
                ("shifted", shifted(true.map)),
                ("random", noise),
            ):
                found[kind].append(disagrees(replace(true, map=grid_map)))
        print(which, {kind: f"{np.mean(several):.3f} of {len(several)}" for kind, several in found.items()})


def main() -> None:
    """Measure, fit on the first set, and print every table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="efficientnet-lite0")
    parser.add_argument("--weights", help="of an architecture, a checkpoint")
    parser.add_argument("--input", default="{}", help="keywords of camserve.load, as JSON")
    parser.add_argument("--method", default="auto")
    parser.add_argument("--most", type=int, default=300)
    parser.add_argument("--fitted", action="store_true")
    parser.add_argument("--kept", type=Path)
    parser.add_argument("--only", choices=("first", "second"), help="measure this set and keep it, and say no more")
    parser.add_argument("--time", type=int, metavar="N", help="how long it takes on N photographs, and say no more")
    parser.add_argument("--sums", action="store_true", help="how many maps do not add up to their logit, and no more")
    options = parser.parse_args()
    if options.sums:
        added_up(options)
        return
    if options.time:
        clocked(options)
        return
    if options.only:
        measurements(options, options.only)
        return
    sets = {which: measurements(options, which) for which in ("first", "second")}
    sure = {name: [row for row in rows if row["right"] and row["score"] >= CONFIDENT] for name, rows in sets.items()}
    if not options.fitted:
        for mirror, names in ((True, ("WITH_MIRROR", "TRUSTED_FROM")), (False, ("WITHOUT", "TRUSTED_FROM_WITHOUT"))):
            found, least = fitted(sure["first"], mirror=mirror)
            setattr(built_in, names[0], tuple(found.tolist()))
            setattr(built_in, names[1], least)
            print(f"{names[0]}, {names[1]} = {tuple(found.tolist())}, {least}")
    for name, rows in sure.items():
        of_each_signal(f"{name} set, confident and right", rows)
        by_likeness(f"{name} set, confident and right", rows)
        for mirror in (True, False):
            report(f"{name} set, confident and right", rows, mirror=mirror)
    for name, rows in sets.items():
        report(f"{name} set, every photograph", rows, mirror=True)


if __name__ == "__main__":
    main()
