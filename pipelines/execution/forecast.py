"""How long a run will take, and how much disk: from the size of the data and measured speeds.

The speeds are those of two cores of a server (`docs/performance.md`); SPM's were taken with GNU
Octave in place of the MATLAB Runtime, its linear model is extrapolated beyond 3026 volumes, and
recon-all's 7 hours are what FreeSurfer's users report. Other machines differ by a factor of two.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from conceptrsa.pipelines.bids.checks import series_shape
from conceptrsa.pipelines.bids.dataset import SubjectInputs
from conceptrsa.pipelines.bids.events import count_presentations
from conceptrsa.pipelines.options import ParticipantOptions, partition_runs
from conceptrsa.pipelines.workflows.estimation import spm_memory_gb
from conceptrsa.pipelines.workflows.freesurfer import RECONSTRUCTION_GB
from conceptrsa.pipelines.workflows.requirements import is_reconstructed

ASSUMED_PLANE = 64 * 64
"""Voxels of a slice where the image is not there to be looked at."""
ASSUMED_SLICES = 40
"""Of an image that is not there, where its slice times are not known either."""
INT16, FLOAT32 = 2, 4  # bytes
N_SETS = 3  # betas of all, odd and even runs
GRID_MNI305 = 76 * 76 * 93
LARGEST_STEP_GB = 2.0
ROI_VOXELS = 10_556
"""In any region of ds001246's, in the packaged atlas; the sums below count hemispheres again."""
ROI_VOXELS_SUMMED, ROI_PAIRS_SUMMED = 21_112, 56.6e6


@dataclass(frozen=True)
class Size:
    """Size of a subject's data.

    Attributes
    ----------
    n_runs, n_volumes, n_voxels, n_stimuli : int
        Volumes of all runs together; voxels of a volume.
    is_assumed : bool
        Whether some image was not there to be looked at.
    """

    n_runs: int
    n_volumes: int
    n_voxels: int
    n_stimuli: int
    is_assumed: bool

    @property
    def samples(self) -> float:
        """Millions of voxels in all volumes."""
        return self.n_volumes * self.n_voxels / 1e6


@dataclass(frozen=True)
class StepForecast:
    """What a step of a subject needs.

    Attributes
    ----------
    name : str
    node : str
        Name of its workflow node, in words.
    times : int
        How often the node is executed.
    seconds : float
        Of all its executions together.
    gigabytes : float
        Of files that stay until the run has ended.
    """

    name: str
    node: str
    times: int
    seconds: float
    gigabytes: float

    def text(self) -> str:
        """Time and disk as they are printed."""
        return f"about {duration(self.seconds):>8s}  {self.gigabytes:6.2f} GB"


@dataclass(frozen=True)
class Forecast:
    """What a subject needs.

    Attributes
    ----------
    size : Size
    steps : tuple of StepForecast
    peak_gigabytes : float
        Of intermediate files at the moment when they are most, if they are removed as soon as no
        step needs them.
    results_gigabytes : float
        Of what stays for ever.
    """

    size: Size
    steps: tuple[StepForecast, ...]
    peak_gigabytes: float = 0.0
    results_gigabytes: float = 0.0

    @property
    def seconds(self) -> float:
        """Sum over the steps: of one processor at work."""
        return sum(step.seconds for step in self.steps)

    @property
    def gigabytes(self) -> float:
        """Disk for all intermediate files and results, if none is removed."""
        return sum(step.gigabytes for step in self.steps)


def forecast_subject(
    subject: SubjectInputs, options: ParticipantOptions, out_dir: Path
) -> Forecast:
    """Say what the steps of a subject will take.

    Parameters
    ----------
    subject : SubjectInputs
        Its images may be missing; the size is then taken from events and slice times, with
        64 x 64 voxels a slice.
    options : ParticipantOptions
        Engine and normalization.
    out_dir : Path
        Where reconstructions are made unless the options say otherwise.
    """
    size = _size(subject)
    seconds = _SPM_SECONDS if options.engine == "spm" else _PYTHON_SECONDS
    run_bytes = size.samples * 1e6 * INT16 / 1e9
    betas = size.n_voxels * size.n_stimuli * FLOAT32 / 1e9
    betas_mni305 = N_SETS * GRID_MNI305 * size.n_stimuli * FLOAT32 / 1e9
    steps: dict[str, tuple[str, int, float]] = {
        # name: node, executions, GB
        "slice timing": ("slice timing", size.n_runs, run_bytes),
        # SPM writes into its input, and so into copies, which lie there until it has ended.
        "realignment": ("realign", 1, run_bytes * (2 if options.engine == "spm" else 1)),
        "coregistration": ("coregister", 1, 0.0),
        "brain mask of the T1w": ("find brain", 1, 0.0),
        "normalization to MNI305": ("normalize", 1, 0.0),
        "GLM": ("estimate betas", _n_models(size, options), _n_estimates(size, options) * betas),
        "betas in MNI305": ("resample betas", N_SETS, betas_mni305),
        "regions of interest": ("find rois", 1, 0.0),
        "derivatives": ("save betas mni305", N_SETS, betas_mni305 / 2),
    }
    if not subject.has_corrected_slices:
        del steps["slice timing"]
    if subject.is_preprocessed:
        # Unpacked, in T1w space and so often in more voxels, instead of the first three steps.
        imported = {
            "import of runs": ("import runs", size.n_runs, run_bytes),
            "check of registration": ("check coregistration", 1, 0.0),
        }
        before = ("slice timing", "realignment", "coregistration")
        steps = imported | {name: step for name, step in steps.items() if name not in before}
    forecasts = [
        StepForecast(name, node, times, seconds[name](size), space)
        for name, (node, times, space) in steps.items()
    ]
    if options.runs_per_partition is not None:
        forecasts += _run_betas(size, options, options.runs_per_partition)
    reconstructions = options.reconstructions(out_dir)
    if options.normalization == "freesurfer" and not is_reconstructed(reconstructions, subject):
        forecasts.insert(0, StepForecast("recon-all", "reconstruct", 1, 7 * 3600.0, 0.4))
    results = sum(
        step.gigabytes for step in forecasts if step.node in ("save betas mni305", "reconstruct")
    )
    collected = sum(step.gigabytes for step in forecasts if step.node == "collect run betas") / 2
    return Forecast(
        size,
        tuple(forecasts),
        _peak(size, options, run_bytes, betas) + betas_mni305,
        results + collected,
    )


def _peak(size: Size, options: ParticipantOptions, runs: float, betas: float) -> float:
    """GB of intermediate files in EPI space when they are most; `runs` is all runs once.

    Realignment gives up a run when it has resliced it, SPM when it has copied it. A realigned run
    goes when its betas are there, and stays to the end for SPM's models and run-wise betas.
    """
    estimates = _n_estimates(size, options) * betas
    aligning = 2 * runs if options.engine == "spm" else runs * (1 + 1 / max(size.n_runs, 1))
    if options.engine == "spm":
        return max(aligning, runs + estimates)
    if options.runs_per_partition is not None:
        sampled = sum(
            step.gigabytes for step in _run_betas(size, options, options.runs_per_partition)
        )
        return max(aligning, runs + estimates + sampled)
    return max(aligning, estimates)


def print_totals(
    forecasts: Sequence[Forecast], options: ParticipantOptions, out_dir: Path, gigabytes: float
) -> None:  # fmt: skip
    """Print what all subjects need together; `gigabytes` is of disk."""
    reconstructs = any(step.node == "reconstruct" for f in forecasts for step in f.steps)
    most = max((forecast.size.n_volumes for forecast in forecasts), default=0)
    largest_gb = spm_memory_gb(most) if options.engine == "spm" else LARGEST_STEP_GB
    largest_gb = max(largest_gb, RECONSTRUCTION_GB if reconstructs else 0.0)
    fit = int(options.memory_mb / 1000 / largest_gb)
    side_by_side = max(1, min(options.n_procs, len(forecasts), fit))
    longest = max((forecast.seconds for forecast in forecasts), default=0.0)
    seconds = math.ceil(len(forecasts) / side_by_side) * longest
    takes = f"{duration(seconds)} with {side_by_side} at a time"
    if options.slurm is not None:
        takes = (
            f"{duration(longest)} if Slurm starts every job at once and each subject's steps came "
            f"one after the other, up to {largest_gb:.1f} GB of memory a job"
        )
    print(
        f"engine {options.engine}, normalization {options.normalization}, output {out_dir}: about "
        f"{takes}, {gigabytes:.1f} GB of disk{'' if options.keep_work else ' when it is most'}"
    )
    if options.slurm is None and side_by_side < min(options.n_procs, len(forecasts)):
        print(
            f"(--mem-mb {options.memory_mb} lets no more run side by side: one needs "
            f"up to {largest_gb:.1f} GB)"
        )
    if any(forecast.size.is_assumed for forecast in forecasts):
        print("(images that are missing are taken to have 64 x 64 voxels a slice)")


def duration(seconds: float) -> str:
    """Time in the unit that suits it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


Seconds = Callable[[Size], float]

_PYTHON_SECONDS: dict[str, Seconds] = {
    "import of runs": lambda size: 0.03 * size.samples,
    "slice timing": lambda size: 0.028 * size.samples,
    "realignment": lambda size: 0.26 * size.samples,
    "coregistration": lambda size: 8.0,
    "check of registration": lambda size: 6.0,
    "brain mask of the T1w": lambda size: 6.0,
    "normalization to MNI305": lambda size: 10.0,
    "GLM": lambda size: 0.031 * size.samples,
    "betas in MNI305": lambda size: 0.1 * size.n_stimuli,
    "regions of interest": lambda size: 25.0,
    "derivatives": lambda size: 0.22 * size.n_stimuli,
}
# Estimation: products over voxels, and matrices of volumes x volumes for the AR(1) model.
_SPM_SECONDS: dict[str, Seconds] = {
    **_PYTHON_SECONDS,
    "slice timing": lambda size: 0.85 * size.samples + size.n_runs,
    "realignment": lambda size: 1.3 * size.samples,
    "coregistration": lambda size: 15.0,
    "GLM": lambda size: 0.4 * size.samples + 60 + 2e-8 * size.n_volumes**3,
}


def _run_betas(
    size: Size, options: ParticipantOptions, runs_per_partition: int
) -> tuple[StepForecast, StepForecast]:
    """Sampling, which for SPM is a model a partition; and collecting, with a copy of the result."""
    n_partitions = len(partition_runs(size.n_runs, runs_per_partition))
    sampled = ROI_VOXELS * (size.n_volumes + size.n_runs * size.n_stimuli) * FLOAT32 / 1e9
    betas = n_partitions * size.n_stimuli * ROI_VOXELS_SUMMED
    collected = 2 * (betas + ROI_PAIRS_SUMMED) * FLOAT32 / 1e9
    node, times, seconds = "sample runs", size.n_runs, 0.011 * size.samples
    if options.engine == "spm":
        node, times = "sample partitions", n_partitions
        cubes = n_partitions * (size.n_volumes / n_partitions) ** 3
        seconds = 0.3 * size.samples + 20 * n_partitions + 1.6e-8 * cubes
    return (
        StepForecast("run-wise betas", node, times, seconds, sampled),
        StepForecast(
            "residual covariance", "collect run betas", 1, 4 + 1.5e-3 * size.n_volumes, collected
        ),
    )


def _n_models(size: Size, options: ParticipantOptions) -> int:
    if options.engine == "python":
        return size.n_runs
    return 1 if options.run_model == "sessions" else N_SETS


def _n_estimates(size: Size, options: ParticipantOptions) -> int:
    """Sets of betas that lie on disk in EPI space."""
    is_per_run = options.engine == "python" or options.run_model == "sessions"
    return N_SETS + size.n_runs if is_per_run else 2 * N_SETS


def _size(subject: SubjectInputs) -> Size:
    n_volumes, n_voxels, is_assumed = 0, 0, False
    for run in subject.runs:
        shape = series_shape(run)
        if shape is None:
            is_assumed = True
            end = float((run.conditions["onset"] + run.conditions["duration"]).max())
            n_slices = len(run.slice_times) or ASSUMED_SLICES
            shape = (ASSUMED_PLANE, 1, n_slices, round(end / run.repetition_time))
        n_voxels = max(n_voxels, shape[0] * shape[1] * shape[2])
        n_volumes += shape[3]
    n_stimuli = len(count_presentations(run.conditions for run in subject.runs))
    return Size(len(subject.runs), n_volumes, n_voxels, n_stimuli, is_assumed)
