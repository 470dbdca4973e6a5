"""Time and memory of whole comparisons, by the number of stimuli and of regions.

`python -m benchmarks.scale [STIMULI REGIONS]`; default settings, 8 subjects, 16 models, regions of
500 voxels. Each size runs in a process of its own.
"""

import resource
import subprocess
import sys
import time
import warnings

import numpy as np

import conceptrsa as crsa

SIZES = ((50, 4), (100, 4), (200, 4), (515, 4), (515, 12), (1000, 4), (50, 40), (50, 400))
N_SUBJECTS, N_MODELS, N_VOXELS, N_FEATURES = 8, 16, 500, 30


def measure(n_stimuli: int, n_regions: int) -> None:
    """Compare once, and print a row of the table."""
    generator = np.random.default_rng(0)
    names = [f"stimulus-{number:05d}" for number in range(n_stimuli)]
    features = generator.standard_normal((N_MODELS, n_stimuli, N_FEATURES))
    models = [
        crsa.Features(f"model {index}", f"group {index % 3}", names, values)
        for index, values in enumerate(features)
    ]
    subjects = []
    for subject in range(N_SUBJECTS):
        regions = {}
        for region in range(n_regions):
            weights = np.random.default_rng(region).standard_normal((N_FEATURES, N_VOXELS))
            noise = generator.standard_normal((2, n_stimuli, N_VOXELS))
            signal = 0.3 * features[region % N_MODELS] @ weights
            regions[f"region {region}"] = (signal + 3 * noise).astype(np.float32)
        subjects.append(crsa.SubjectPatterns.from_arrays(f"{subject:02d}", names, regions))
    before, cpu = time.perf_counter(), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        crsa.compare(subjects, models)
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"| {n_stimuli} | {n_regions} | {time.perf_counter() - before:.0f} "
        f"| {time.process_time() - cpu:.0f} | {gigabytes:.1f} |",
        flush=True,
    )


def main() -> None:
    """Measure one size, or all."""
    if len(sys.argv) == 3:
        measure(*map(int, sys.argv[1:]))
        return
    print("| stimuli | regions | wall (s) | CPU (s) | peak memory (GB) |\n|---|---|---|---|---|")
    for size in SIZES:
        command = [sys.executable, "-m", "benchmarks.scale", *map(str, size)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
