"""How many components ``select`` finds, and how long it takes: ``python -m benchmarks.selection``.

choice: on generated mixtures, beside the best of ten fits of scikit-learn's for every size. once: the same from rows
that come by once, by each of the numbers that could choose. cost: seconds and readings beside scikit-learn's loop over
the same sizes, to log-likelihoods as good.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean, median
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from sklearn import mixture

from benchmarks.onepass import observed
from benchmarks.timing import Rounds, Table, describe_machine, seconds, verdict
from benchmarks.workloads import Population
from streamgmm import GaussianMixture, select
from streamgmm.data.source import Chunk
from streamgmm.data.sources import as_source
from streamgmm.selection import selecting

SECTIONS = ("choice", "once", "cost")
SIZES, ROWS = range(1, 11), 2_000
ONCE_ROWS, FIRST = 6_000, 2_000  # rows that come by once, and those of them that are kept to start from: 32,768 else
SAME = 2.0  # of BIC: sizes whose best fits are so near are equally good
SEPARATIONS = (3.0, 8.0)  # typical standard deviations between means: below 5 components overlap
REFERENCE_SEED, OTHER_SEED = 1, 2
TOL = 1e-5  # nats a row of an iteration, at which the reference ends; scikit-learn's 1e-3 ends tens of nats early
AS_GOOD = 1e-3  # nats a row below scikit-learn's best, that count as its log-likelihood

Rows = NDArray[np.float64]
BICs = dict[int, float]  # by size


@dataclass(frozen=True, slots=True, eq=False)
class Puzzle:
    """Rows, and how many components they were drawn from."""

    k: int
    rows: Rows


def puzzle(seed: int, n: int) -> Puzzle:
    """One of 1 to 8 components in 2 to 8 dimensions, from overlapping to separated."""
    random = np.random.default_rng([seed, 6])
    k, d = 1 + seed % 8, int(random.integers(2, 9))
    return Puzzle(k, Population.overlapping(d, k, random.uniform(*SEPARATIONS), random).draw(n, random)[0])


def reference(rows: Rows, sizes: Sequence[int], n_init: int, seed: int, kind: type = GaussianMixture) -> BICs:
    """BIC of the best of several fits of every size, from scikit-learn's starts.

    Our own batch EM takes scikit-learn's steps (`tests/estimator/test_agreement_with_scikit_learn.py`) in less time;
    or it is scikit-learn's.
    """
    settings = {"n_init": n_init, "tol": TOL, "max_iter": 500, "init_params": "kmeans", "random_state": seed}
    models = [kind(k, **settings) for k in sizes]
    return {k: float(observed(partial(model.fit, rows))[0].bic(rows)) for k, model in zip(sizes, models, strict=True)}


def chosen(bics: BICs) -> int:
    """The size with the lowest BIC."""
    return min(bics, key=lambda k: bics[k])


def same(k: int, bics: BICs) -> bool:
    """Whether a size is as good as the best, by the reference."""
    return bics[k] <= min(bics.values()) + SAME


def choice(seeds: Sequence[int], n: int, sizes: Sequence[int], n_init: int, judged: bool) -> None:
    """How often it is the reference's choice, and the true one."""
    print(f"## Choice: {len(seeds)} mixtures of 1 to 8 components in 2 to 8 dimensions, {n:,} rows each\n")
    found: list[tuple[bool, ...]] = []
    for seed in seeds:
        one = puzzle(seed, n)
        bics = reference(one.rows, sizes, n_init, REFERENCE_SEED)
        if seed == seeds[0]:
            theirs = reference(one.rows, sizes, n_init, REFERENCE_SEED, mixture.GaussianMixture)
            differing = max(abs(bics[k] - theirs[k]) for k in sizes)
            print(f"the reference beside scikit-learn itself: BICs of mixture {seed} differ by {differing:.1e}\n")
        other = chosen(reference(one.rows, sizes, n_init, OTHER_SEED))
        selection = observed(partial(select, one.rows, sizes, random_state=0))[0]
        k, lowest, bic = selection.best.n_components, min(bics.values()), float(selection.table["bic"].min())
        agrees = same(k, bics)
        found.append((agrees, agrees or bic < lowest - SAME, same(other, bics), k == one.k, chosen(bics) == one.k))
        if not agrees:
            print(
                f"mixture {seed}, {one.k} components in {one.rows.shape[1]}-d: {k} found, with BIC {bic:.1f}; the "
                f"reference says {chosen(bics)}, with {lowest:.1f}, and {bics[k]:.1f} for {k}",
                flush=True,
            )
    agreed, better, itself, true, theirs_true = (100.0 * fmean(column) for column in zip(*found, strict=True))
    print()
    table = Table(of_the_mixtures=64, share=7, bar=12)
    for name, share, bar in (
        ("the reference's choice, or one within 2 of its best BIC", agreed, 95.0),
        ("that, or one whose BIC is more than 2 below the reference's best", better, None),
        ("the reference beside itself under another seed", itself, None),
        ("the true number", true, theirs_true),
        ("the true number, by the reference", theirs_true, None),
    ):
        table.row(name, f"{share:.1f} %", verdict(share, bar if judged else None, at_least=True, unit=" %"))


def by_each_number(rows: Rows, sizes: Sequence[int], first: int) -> dict[str, int]:
    """Sizes chosen from rows that come by once, by each of the numbers that are known of the candidates then."""
    with patch.object(selecting, "choose_subsample_size", lambda k, d: first):
        found = observed(partial(select, iter(np.array_split(rows, 20)), sizes, random_state=0))[0]
    size = dict(enumerate(found.table["n_components"].tolist()))
    bounds = [model.criteria_["bound"].bic for model in found.models]
    assert size[int(found.table["evidence"].argmin())] == found.best.n_components
    return {
        "evidence": found.best.n_components,
        "BIC of the bound": size[int(np.argmin(bounds))],
        "prequential alone": size[int(found.table["prequential"].argmax())],
        "BIC of the first rows alone": size[int(found.table["bic_at_first"].argmin())],
    }


def once(seeds: Sequence[int], n: int, first: int, sizes: Sequence[int], n_init: int, judged: bool) -> None:
    """How often the choice of one reading is the reference's, and the true one."""
    print(f"\n## Once: {len(seeds)} mixtures as above, {n:,} rows each, of which the first {first:,} can be kept\n")
    agreed: dict[str, list[bool]] = {}
    true: dict[str, list[bool]] = {}
    theirs: list[bool] = []
    for seed in seeds:
        one = puzzle(seed, n)
        bics = reference(one.rows, sizes, n_init, REFERENCE_SEED)
        theirs.append(chosen(bics) == one.k)
        found = by_each_number(one.rows, sizes, first)
        for name, k in found.items():
            agreed.setdefault(name, []).append(same(k, bics))
            true.setdefault(name, []).append(k == one.k)
        if not agreed["evidence"][-1]:
            print(f"mixture {seed}, {one.k} components: {found}; the reference says {chosen(bics)}", flush=True)
    print()
    table = Table(chosen_by=27, as_the_reference=16, bar=12, true=7, true_by_the_reference=21)
    for name in agreed:
        shares = [100.0 * fmean(column) for column in (agreed[name], true[name], theirs)]
        bar = 90.0 if judged and name == "evidence" else None
        told = (f"{share:.1f} %" for share in shares)
        table.row(name, next(told), verdict(shares[0], bar, at_least=True, unit=" %"), *told)


class Counting:
    """A source that counts how often it is read."""

    def __init__(self, rows: Rows) -> None:
        self._source = as_source(rows)
        self.readings = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def chunks(self) -> Iterator[Chunk]:
        """One pass."""
        self.readings += 1
        return self._source.chunks()


def cost(n: int, d: int, k: int, sizes: Sequence[int], rounds: Rounds, judged: bool) -> None:
    """Seconds and log-likelihoods beside scikit-learn's loop over the same sizes.

    With its default tolerance that ends far below our log-likelihoods; with a small one about there.
    """
    print(f"\n## Cost: {n:,} x {d}, {k} components, sizes {sizes[0]} to {sizes[-1]}\n")
    random = np.random.default_rng(0)
    rows = Population.overlapping(d, k, 4.0, random).draw(n, random)[0]
    counting = Counting(rows)
    found = observed(partial(select, counting, sizes, random_state=0))[0]  # compiles
    print(f"{counting.readings} readings; the longest candidate has {found.table['n_iter'].max()} passes\n")
    table = Table(tol=6, ours_s=8, scikit_learn_s=14, ratio=7, bar=12, as_likely_or_more=17, least=9, median=9)
    for tol, at_most in ((1e-3, 100), (TOL, 500)):
        loops: list[list[mixture.GaussianMixture]] = []

        def ours() -> None:
            observed(partial(select, rows, sizes, random_state=0))

        def theirs(tol: float = tol, at_most: int = at_most, loops: list[Any] = loops) -> None:
            models = [mixture.GaussianMixture(k, tol=tol, max_iter=at_most, random_state=0) for k in sizes]
            for model in models:
                observed(partial(model.fit, rows))
            loops.append(models)

        pair = rounds.side_by_side(partial(seconds, ours), partial(seconds, theirs))
        ahead = found.table["log_likelihood"] / n - [model.score(rows) for model in loops[-1]]
        ratio = pair.ours / pair.theirs
        table.row(
            *(f"{tol:.0e}", f"{pair.ours:.2f}", f"{pair.theirs:.2f}", f"{ratio:.3f}"),
            verdict(ratio, 0.2 if judged and tol == TOL else None, at_least=False),
            f"{np.count_nonzero(ahead >= -AS_GOOD)} of {len(sizes)}",
            *(f"{ahead.min():.1e}", f"{median(ahead):.1e}"),
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.selection", description=__doc__)
    parser.add_argument("--toy", action="store_true", help="a few hundred rows, two mixtures, nothing judged")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--mixtures", type=int, help="of choice, by default 200, and of once, by default 40")
    parser.add_argument("--first", type=int, default=0, help="number of the first of them")
    options = parser.parse_args(arguments)
    toy = options.toy

    describe_machine()
    if "choice" in options.only:
        number = options.mixtures or (2 if toy else 200)
        n, sizes = (300, range(1, 4)) if toy else (ROWS, SIZES)
        choice(range(options.first, options.first + number), n, sizes, 2 if toy else 10, not toy)
    if "once" in options.only:
        number = options.mixtures or (2 if toy else 40)
        n, first, sizes = (600, 200, range(1, 4)) if toy else (ONCE_ROWS, FIRST, SIZES)
        once(range(options.first, options.first + number), n, first, sizes, 2 if toy else 10, not toy)
    if "cost" in options.only:
        rounds = Rounds(least=1, most=1) if toy else Rounds(least=1, most=3, budget=60.0)
        n, sizes = (500, range(1, 4)) if toy else (100_000, range(1, 13))
        cost(n, 4, 6, sizes, rounds, not toy)


if __name__ == "__main__":
    main()
