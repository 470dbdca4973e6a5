"""How much faster the comparison is than the paper's loop and rsatoolbox, side by side in one run.

`python -m benchmarks.speed`; exit code 1 where something is slower than required, or its numbers
differ from the slow way's.
"""

import os

# BLAS reads it when NumPy is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from benchmarks import speed_crossnobis, speed_inference, speed_sweep
from benchmarks.timing import Comparison

HEADER = (
    "| work | slow way | seconds | fast way | seconds | ratio | required | difference |\n"
    "|---|---|---|---|---|---|---|---|"
)


def row(comparison: Comparison) -> str:
    return (
        f"| {comparison.work} | {comparison.slow} | {comparison.slow_seconds:.3g} "
        f"| {comparison.fast} | {comparison.fast_seconds:.3g} | {comparison.ratio:.0f} "
        f"| {comparison.required_ratio:g}{'' if comparison.passed else ' (missed)'} "
        f"| {comparison.difference:.1e} |"
    )


def main() -> int:
    print(HEADER)
    comparisons = []
    for part in (speed_sweep, speed_crossnobis):
        for comparison in part.measure():
            comparisons.append(comparison)
            print(row(comparison), flush=True)
    figure_1 = speed_sweep.time_figure_1()
    limits = (
        (
            "10,000 label permutations x 16 models x 12 regions",
            speed_inference.permutation_seconds(),
            speed_inference.PERMUTATION_LIMIT,
        ),
        (figure_1.work, figure_1.seconds, figure_1.limit),
    )
    for work, seconds, limit in limits:
        print(f"{work}: {seconds:.2f} s (limit {limit:g} s)")
    within = all(seconds <= limit for _, seconds, limit in limits)
    return 0 if within and all(comparison.passed for comparison in comparisons) else 1


if __name__ == "__main__":
    raise SystemExit(main())
