"""Whether p-values and intervals keep their promises, on data sets whose truth is known.

    python benchmarks/calibration.py [--simulations 500] [--quick]

Every data set has new subjects, new stimuli and new models. Prints a table in Markdown: how often
each test rejects a true null hypothesis at 0.05, how often each interval covers the truth, and how
much selecting voxels inflates results on noise, with standard errors over data sets. Last come
subjects with stimuli of their own, one subject, very many stimuli, and the models that may be the
best.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.calibration_study import Study, markdown
from benchmarks.false_positives import (
    ceiling_of_noise,
    different_parts,
    equally_related,
    false_positives,
    tests_over_subjects,
)
from benchmarks.interval_coverage import coverage
from benchmarks.ruled_out import ruled_out
from benchmarks.selection_on_noise import selection_on_noise
from benchmarks.simulation import Design
from benchmarks.stimulus_designs import DESIGNS, stimulus_design, thinned_permutations


def studies(n: int, seed: int) -> list[Callable[[], Study]]:
    """All studies; the variations have half or a quarter as many data sets, the largest fewer."""
    design = Design()
    categories, many = replace(design, n_categories=8), replace(design, n_subjects=12)
    half, quarter, few = max(n // 2, 2), max(n // 4, 2), max(n // 12, 2)
    return [
        lambda: false_positives(n, seed, "pearson", design),
        lambda: equally_related(n, seed, "pearson", design),
        lambda: different_parts(n, seed, design),
        lambda: ceiling_of_noise(n, seed, "pearson", design),
        lambda: coverage(n, seed, "pearson", design, bootstraps=True),
        lambda: tests_over_subjects(n, seed),
        lambda: selection_on_noise(half, seed, design),
        lambda: coverage(half, seed, "spearman", design, bootstraps=False),
        lambda: coverage(quarter, seed, "whitened-cosine", design, bootstraps=False),
        lambda: coverage(half, seed, "pearson", categories, bootstraps=False),
        lambda: false_positives(half, seed, "pearson", categories),
        lambda: coverage(half, seed, "pearson", many, bootstraps=False),
        lambda: false_positives(half, seed, "pearson", many),
        *(
            partial(stimulus_design, few if one.subjects.n_stimuli > 100 else quarter, seed, one)
            for one in DESIGNS
        ),
        lambda: thinned_permutations(max(n // 250, 2), seed),
    ]


def main() -> None:
    """Run all studies and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulations", type=int, default=500, help="data sets per study")
    parser.add_argument("--quick", action="store_true", help="20 data sets, to see that it runs")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    n = 20 if arguments.quick else arguments.simulations
    start = time.perf_counter()
    for study in studies(n, arguments.seed):
        print(markdown(study()), flush=True)
    for table in ruled_out(max(n // 5, 2), arguments.seed):
        print(markdown(table), flush=True)
    print(f"{n} data sets per study, seed {arguments.seed}, {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
