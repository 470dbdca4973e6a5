"""Forecast the time and disk space of a run, and refuse it if the space is missing.

Both come from the size of the data and measured speeds. The speeds are those of two cores of a
server (`docs/performance.md`); SPM's were taken with GNU Octave in place of the MATLAB Runtime, its
linear model is extrapolated beyond 3026 volumes, and recon-all's 7 hours are what FreeSurfer's
users report. Other machines differ by a factor of two.
"""

import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from conceptrsa.bids_config.errors import InputError
from conceptrsa.pipelines.bids.checks import series_shape
from conceptrsa.pipelines.bids.dataset import SubjectInputs
from conceptrsa.pipelines.bids.events import count_presentations
from conceptrsa.pipelines.execution.find_programs import is_reconstructed
from conceptrsa.pipelines.execution.output_folders import existing_parent
from conceptrsa.pipelines.participant_options import ParticipantOptions, partition_runs
from conceptrsa.pipelines.workflows import software

ASSUMED_PLANE = 64 * 64
"""Voxels of a slice where the image is not there to be looked at."""
ASSUMED_SLICES = 40
"""Assumed for a missing image whose slice times are unknown."""
INT16, FLOAT32 = 2, 4  # bytes
N_SETS = 3  # betas of all, odd and even runs
GRID_MNI305 = 76 * 76 * 93
GIGABYTE = 1e9
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
    n_standard : int
        Voxels of a volume in the standard space that betas end in.
    """

    n_runs: int
    n_volumes: int
    n_voxels: int
    n_stimuli: int
    is_assumed: bool
    n_standard: int = GRID_MNI305

    @property
    def samples(self) -> float:
        """Millions of voxels in all volumes."""
        return self.n_volumes * self.n_voxels / 1e6

    @property
    def runs_gb(self) -> float:
        """All runs once, as they are acquired."""
        return self.samples * 1e6 * INT16 / GIGABYTE

    @property
    def betas_gb(self) -> float:
        """A beta per stimulus, in EPI space."""
        return self.n_voxels * self.n_stimuli * FLOAT32 / GIGABYTE

    @property
    def betas_standard_gb(self) -> float:
        """Betas of all, odd and even runs in the standard space."""
        return N_SETS * self.n_standard * self.n_stimuli * FLOAT32 / GIGABYTE


@dataclass(frozen=True)
class StepForecast:
    """Time, memory and disk space of a step of a subject.

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


@dataclass(frozen=True)
class Forecast:
    """Time and disk space of a subject.

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
    steps = tuple(_steps(subject, size, options, out_dir))
    # What is collected lies there twice: where it was made, and as a result.
    stays = {"save betas standard": 1.0, "reconstruct": 1.0, "collect run betas": 0.5}
    results = sum(step.gigabytes * stays.get(step.node, 0.0) for step in steps)
    # In a standard space betas are not resampled, so that there is no second copy of them.
    resampled = 0.0 if subject.standard_space else size.betas_standard_gb
    return Forecast(size, steps, _peak(size, options) + resampled, results)


def _steps(
    subject: SubjectInputs, size: Size, options: ParticipantOptions, out_dir: Path
) -> Iterator[StepForecast]:
    by_spm = options.engine == "spm"
    if options.normalization == "freesurfer" and not is_reconstructed(
        options.reconstructions(out_dir), subject
    ):
        yield StepForecast("recon-all", "reconstruct", 1, 7 * 3600.0, 0.4)
    if subject.is_preprocessed:
        # Unpacked, in T1w space and so often in more voxels.
        importing = 0.03 * size.samples
        yield StepForecast("import of runs", "import runs", size.n_runs, importing, size.runs_gb)
    if subject.is_preprocessed and not subject.standard_space:
        yield StepForecast("check of registration", "check coregistration", 1, 6.0, 0.0)
    if not subject.is_preprocessed:
        if subject.has_corrected_slices:
            slices = 0.85 * size.samples + size.n_runs if by_spm else 0.028 * size.samples
            yield StepForecast("slice timing", "slice timing", size.n_runs, slices, size.runs_gb)
        aligning = (1.3 if by_spm else 0.26) * size.samples
        # SPM writes into its input, and so into copies, which lie there until it has ended.
        copies = size.runs_gb * (2 if by_spm else 1)
        yield StepForecast("realignment", "realign", 1, aligning, copies)
        yield StepForecast("coregistration", "coregister", 1, 15.0 if by_spm else 8.0, 0.0)
    if not subject.standard_space:
        yield StepForecast("brain mask of the T1w", "find brain", 1, 6.0, 0.0)
        yield StepForecast("normalization to MNI305", "normalize", 1, 10.0, 0.0)
    n_models, modelling = size.n_runs, 0.031 * size.samples
    if by_spm:
        # Products over voxels, and matrices of volumes x volumes for the AR(1) model.
        modelling = 0.4 * size.samples + 60 + 2e-8 * size.n_volumes**3
        n_models = 1 if options.run_model == "sessions" else N_SETS
    yield StepForecast("GLM", "estimate betas", n_models, modelling, _estimates_gb(size, options))
    if not subject.standard_space:
        resampling = 0.1 * size.n_stimuli
        yield StepForecast(
            "betas in MNI305", "resample betas", N_SETS, resampling, size.betas_standard_gb
        )
    finding = 3.0 if subject.standard_space else 25.0
    yield StepForecast("regions of interest", "find rois", 1, finding, 0.0)
    saving = 0.22 * size.n_stimuli
    yield StepForecast(
        "derivatives", "save betas standard", N_SETS, saving, size.betas_standard_gb / 2
    )
    if options.runs_per_partition is not None:
        yield from _run_betas(size, options, options.runs_per_partition)


def _peak(size: Size, options: ParticipantOptions) -> float:
    """GB of intermediate files in EPI space when they are most.

    Realignment gives up a run when it has resliced it, SPM when it has copied it. A realigned run
    goes when its betas are there, and stays to the end for SPM's models and run-wise betas.
    """
    runs, estimates = size.runs_gb, _estimates_gb(size, options)
    if options.engine == "spm":
        return max(2 * runs, runs + estimates)
    aligning = runs * (1 + 1 / max(size.n_runs, 1))
    if options.runs_per_partition is None:
        return max(aligning, estimates)
    sampled = sum(step.gigabytes for step in _run_betas(size, options, options.runs_per_partition))
    return max(aligning, runs + estimates + sampled)


def _estimates_gb(size: Size, options: ParticipantOptions) -> float:
    """All sets of betas that lie on disk in EPI space."""
    is_per_run = options.engine == "python" or options.run_model == "sessions"
    return (N_SETS + size.n_runs if is_per_run else 2 * N_SETS) * size.betas_gb


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
    n_standard = n_voxels if subject.standard_space else GRID_MNI305
    return Size(len(subject.runs), n_volumes, n_voxels, n_stimuli, is_assumed, n_standard)


@dataclass(frozen=True)
class DiskNeed:
    """Disk space of subjects, in GB.

    Attributes
    ----------
    intermediate : float
        At the moment when it is most.
    results : float
        In the end.
    """

    intermediate: float
    results: float

    @property
    def total(self) -> float:
        """Both together."""
        return self.intermediate + self.results


def disk_need(forecasts: Sequence[Forecast], options: ParticipantOptions) -> DiskNeed:
    """Say what subjects need together.

    Where intermediate files are removed, they lie there for the subjects in work: one a process,
    and one more that waits for its turn. Of Slurm's jobs all may be in work at once.
    """
    results = sum(forecast.results_gigabytes for forecast in forecasts)
    if options.keep_work:
        return DiskNeed(sum(forecast.gigabytes for forecast in forecasts) - results, results)
    largest = sorted((forecast.peak_gigabytes for forecast in forecasts), reverse=True)
    in_work = len(forecasts) if options.slurm is not None else options.n_procs + 1
    return DiskNeed(sum(largest[:in_work]), results)


def require_room(
    need: DiskNeed,
    work_dir: Path,
    out_dir: Path,
    options: ParticipantOptions,
    subjects: Collection[str],
) -> None:
    """Refuse to start where the disk cannot hold what is to come.

    Parameters
    ----------
    need : DiskNeed
        Of all subjects that are not finished.
    work_dir, out_dir : Path
        Where intermediate files and results go; they may be missing. What lies there already
        of these subjects, from a run before, counts as room.
    options : ParticipantOptions
        For what could be done about it.
    subjects : collection of str
        Labels of the subjects that are not finished, without `sub-`.

    Raises
    ------
    InputError
        With the numbers and the remedy.
    """
    version_dir = software.of_version(work_dir)
    work = [software.of_subject(version_dir, subject) for subject in subjects]
    results = [out_dir / f"sub-{subject}" for subject in subjects]
    wanted = [(work_dir, need.intermediate, work), (out_dir, need.results, results)]
    if existing_parent(work_dir).stat().st_dev == existing_parent(out_dir).stat().st_dev:
        wanted = [(work_dir, need.total, [*work, *results])]
    for folder, gigabytes, of_subjects in wanted:
        free = shutil.disk_usage(existing_parent(folder)).free / GIGABYTE
        there = _gigabytes_in(of_subjects) if free < gigabytes else 0.0
        if free + there < gigabytes:
            advice = ["make room", "choose another --work-dir" if folder == work_dir else
                      "choose another output folder"]  # fmt: skip
            if options.keep_work:
                advice.append("leave --keep-work out")
            raise InputError(
                f"the run needs about {gigabytes:.1f} GB in {folder} and {free:.1f} GB are free: "
                f"{', '.join(advice)}, or run fewer subjects by --participant-label"
            )


def _gigabytes_in(folders: Iterable[Path]) -> float:
    """GB of the files below; files that vanish meanwhile do not matter."""
    total = 0
    for folder in folders:
        for parent, _, names in os.walk(folder):
            for name in names:
                with suppress(OSError):
                    total += Path(parent, name).lstat().st_size
    return total / GIGABYTE
