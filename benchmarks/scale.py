"""Time and memory of whole comparisons, by the number of stimuli, of regions and of subjects.

`python -m benchmarks.scale [STIMULI REGIONS] [--subjects N] [--shared N] [--report]
[--rsatoolbox]`; default settings, 8 subjects, 16 models, regions of 500 voxels. Without a size, the
table of all of them, each in a process of its own. `--shared` gives each subject stimuli of its
own, of which all share so many. `--report` also writes tables, figures and report. `--rsatoolbox`
lets rsatoolbox do what it can of the same work beside it: RDMs, scores, noise ceilings and
a bootstrap over subjects and stimuli.
"""

import argparse
import importlib.util
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable

import numpy as np

import conceptrsa as crsa
from conceptrsa.analysis.arrays import Floats, Singles

SIZES = (
    (50, 4, 8, 50), (100, 4, 8, 100), (200, 4, 8, 200), (515, 4, 8, 515), (1000, 4, 8, 1000),
    (515, 12, 8, 515), (1000, 12, 8, 1000), (50, 12, 5, 50), (50, 40, 5, 50), (50, 400, 5, 50),
    (10_000, 4, 8, 1000),
)  # fmt: skip
"""Stimuli of a subject, regions, subjects, and stimuli that all share."""

N_MODELS, N_VOXELS, N_FEATURES = 16, 500, 30
N_BOOTSTRAPS = 1000
MOST_STIMULI_OF_RSATOOLBOX = 100
"""A bootstrap of rsatoolbox makes matrices of (pairs x pairs) or copies of all RDMs each time."""


def measure(
    n_stimuli: int, n_regions: int, n_subjects: int, n_shared: int, with_report: bool
) -> None:
    """Compare once, and print a row of the table."""
    n_own = n_stimuli - n_shared
    features = _features(n_shared + n_subjects * n_own)
    names = [f"stimulus-{number:05d}" for number in range(features.shape[1])]
    models = [
        crsa.Features(f"model {index}", f"group {index % 3}", names, values)
        for index, values in enumerate(features)
    ]
    generator = np.random.default_rng(1)
    subjects = []
    for subject in range(n_subjects):
        first = n_shared + subject * n_own
        rows = np.r_[:n_shared, first : first + n_own]
        regions = {
            f"region {region}": _runs(features[:, rows], region, generator)
            for region in range(n_regions)
        }
        own = [names[row] for row in rows]
        subjects.append(crsa.SubjectPatterns.from_arrays(f"{subject:02d}", own, regions))
        del regions
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: list[crsa.Result] = []
        seconds = _timed(lambda: found.append(crsa.compare(subjects, models)))
        sizes = map(str, (n_stimuli, n_shared, n_regions, n_subjects))
        cells = [*sizes, *seconds, _peak()]
        if with_report:
            with tempfile.TemporaryDirectory() as folder:
                cells += [*_timed(lambda: found[0].save(folder)), _peak()]
    print(f"| {' | '.join(cells)} |", flush=True)


def measure_rsatoolbox(n_stimuli: int, n_subjects: int) -> None:
    """Print the time that rsatoolbox takes for one region, in the order of `measure`."""
    import rsatoolbox
    from rsatoolbox.rdm import calc_rdm

    features = _features(n_stimuli)
    generator = np.random.default_rng(1)
    betas = [_runs(features, 0, generator).mean(axis=0) for _ in range(n_subjects)]

    def compare() -> None:
        def rdms_of(patterns: list[Floats]) -> rsatoolbox.rdm.RDMs:
            sets = [rsatoolbox.data.Dataset(np.asarray(one, dtype=float)) for one in patterns]
            return calc_rdm(sets, method="correlation")

        models = [
            rsatoolbox.model.ModelFixed(f"model {index}", rdms_of([values]))
            for index, values in enumerate(features)
        ]
        rsatoolbox.inference.eval_dual_bootstrap(
            models, rdms_of(betas), method="corr", N=N_BOOTSTRAPS
        )

    wall, cpu = _timed(compare)
    print(
        f"rsatoolbox, {n_stimuli} stimuli, 1 region, {n_subjects} subjects: {wall} s, CPU {cpu} s"
    )


def _features(n_stimuli: int) -> Floats:
    return np.random.default_rng(0).standard_normal((N_MODELS, n_stimuli, N_FEATURES))


def _runs(features: Floats, region: int, generator: np.random.Generator) -> Singles:
    """Two runs of one subject's betas, which hold a model's features."""
    weights = np.random.default_rng(region).standard_normal((N_FEATURES, N_VOXELS))
    noise = generator.standard_normal((2, features.shape[1], N_VOXELS))
    return (0.3 * features[region % N_MODELS] @ weights + 3 * noise).astype(np.float32)


def _timed(call: Callable[[], None]) -> tuple[str, str]:
    """Seconds, and seconds of processor time."""
    before, cpu = time.perf_counter(), time.process_time()
    call()
    return f"{time.perf_counter() - before:.0f}", f"{time.process_time() - cpu:.0f}"


def _peak() -> str:
    """Peak memory so far, in GB."""
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f}"


def main() -> None:
    """Measure one size, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("size", nargs="*", type=int, metavar="STIMULI REGIONS")
    parser.add_argument("--subjects", type=int, default=8)
    parser.add_argument("--shared", type=int, help="default: all")
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--rsatoolbox", action="store_true")
    given = parser.parse_args()
    if given.size:
        n_stimuli, n_regions = given.size
        n_shared = n_stimuli if given.shared is None else given.shared
        measure(n_stimuli, n_regions, given.subjects, n_shared, given.report)
        if given.rsatoolbox:
            _beside(n_stimuli, given.subjects)
        return
    header = ["stimuli", "shared", "regions", "subjects", "wall (s)", "CPU (s)", "memory (GB)"]
    if given.report:
        header += ["report: wall (s)", "CPU (s)", "memory (GB)"]
    print(f"| {' | '.join(header)} |\n|{'---|' * len(header)}")
    further = [f"--{flag}" for flag in ("report", "rsatoolbox") if getattr(given, flag)]
    for n_stimuli, n_regions, n_subjects, n_shared in SIZES:
        size = [str(n_stimuli), str(n_regions), "--subjects", str(n_subjects)]
        size += ["--shared", str(n_shared)]
        subprocess.run([sys.executable, "-m", "benchmarks.scale", *size, *further], check=True)


def _beside(n_stimuli: int, n_subjects: int) -> None:
    if importlib.util.find_spec("rsatoolbox") is None:
        print("rsatoolbox is not installed: pip install rsatoolbox")
    elif n_stimuli > MOST_STIMULI_OF_RSATOOLBOX:
        print(f"rsatoolbox is left out: beyond {MOST_STIMULI_OF_RSATOOLBOX} stimuli it takes hours")
    else:
        measure_rsatoolbox(n_stimuli, n_subjects)


if __name__ == "__main__":
    main()
