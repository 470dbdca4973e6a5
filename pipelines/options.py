"""What the command line says about a run of the participant level."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from pathlib import Path
from typing import Literal

from conceptrsa.bids_config.schema import Baseline, DatasetConfig, Pooling

EngineName = Literal["python", "spm"]
Normalization = Literal["python", "freesurfer"]
RunModel = Literal["concatenated", "sessions"]
RoiSource = Literal["template", "subject", "fsaverage"]
Ignored = Literal["slicetiming", "orientation"]
IGNORED_BY_FMRIPREP = ("fieldmaps", "sbref", "t2w", "flair", "fmap-jacobian")
"""What fMRIPrep's `--ignore` knows besides, and this tool does not use in any case."""
RUNS_PER_PARTITION = 3
"""By default: the fewest whose pooled betas have nearly the precision of all runs pooled."""


@dataclass(frozen=True)
class SlurmSettings:
    """What the jobs of a run on Slurm have in common.

    Attributes
    ----------
    sbatch_args : str
        Options of sbatch; they come after those that are worked out for a step, and win.
    template : str
        Beginning of every job's script, from `#!` on.
    max_jobs : int, optional
        Jobs of this run in the queue at once; None: no limit.
    max_tries : int
        How often a job is submitted while Slurm cannot be reached.
    retry_timeout : float
        Seconds between two tries.
    """

    sbatch_args: str = ""
    template: str = "#!/bin/bash"
    max_jobs: int | None = None
    max_tries: int = 10
    retry_timeout: float = 6.0


@dataclass(frozen=True)
class ParticipantOptions:
    """What the command line says about a run of the participant level.

    Attributes
    ----------
    engine : {'python', 'spm'}
        Who does the steps.
    normalization : {'python', 'freesurfer'}
        Who takes betas to MNI305.
    participant_labels, session_labels : sequence of str, optional
        Which subjects and sessions; None means all.
    filter_file : Path, optional
        Entities that the names of images must have, as `conceptrsa.pipelines.bids.layout` reads
        them.
    derivatives_dir : Path, optional
        What fMRIPrep made of the data set, to start from.
    ignore : sequence of {'slicetiming', 'orientation'}
        Do not correct slices for their timing; take images whose orientation cannot be trusted.
    validate : bool
        Let the BIDS validator look at the data set first.
    spm_command : str, optional
        Command that runs SPM.
    spm_time_limit : float, optional
        Minutes that one SPM process may take.
    run_model : {'concatenated', 'sessions'}
        How SPM models the runs.
    fs_subjects_dir : Path, optional
        FreeSurfer reconstructions, `sub-XX` each.
    fs_license_file : Path, optional
        FreeSurfer's licence.
    fs_registration : {'header', 'bbregister'}
        How FreeSurfer finds the EPI in a reconstruction.
    fs_missing : {'excluded', 'zero'}
        What voxels without betas count as where FreeSurfer interpolates their neighbours.
    fs_time_limit : float, optional
        Minutes that recon-all may take.
    t1w_mask : Path, optional
        Brain masks of the T1w images: a file, in whose name `{subject}` stands for the label, or
        a folder of BIDS derivatives; None: they are found.
    roi_source : {'template', 'subject', 'fsaverage'}, optional
        Whose regions; None: fsaverage's with FreeSurfer, else the subject's own.
    task, baseline, pooling : str, optional
        In the place of what the configuration says of runs and the linear model.
    force_config : bool
        Take a configuration other than the one that the output folder was made with.
    runs_per_partition : int, optional
        Write run-wise betas of the regions, of at least so many runs each; None: do not.
    work_dir : Path, optional
        Intermediate files; None means `.work` below the output.
    keep_work : bool
        Keep intermediate files that nothing needs any more.
    command_words : sequence of str
        The command itself, to be named where a subject must be done again; empty if there is none
        that takes `--participant-label`.
    stimuli_dir : Path, optional
        Pictures that every stimulus of the events must be found among, before anything runs.
    n_procs : int
        Processes at once.
    n_threads : int, optional
        Processes that one step may use; None means all for a single subject, else 1, and 1 on
        Slurm.
    memory_mb : int
        Memory of all steps together.
    slurm : SlurmSettings, optional
        Every step is a job of Slurm, with neither `n_procs` nor `memory_mb`; None: here.
    """

    engine: EngineName = "python"
    normalization: Normalization = "python"
    participant_labels: Sequence[str] | None = None
    session_labels: Sequence[str] | None = None
    filter_file: Path | None = None
    derivatives_dir: Path | None = None
    ignore: Sequence[Ignored] = ()
    validate: bool = True
    spm_command: str | None = None
    spm_time_limit: float | None = None
    run_model: RunModel = "concatenated"
    fs_subjects_dir: Path | None = None
    fs_license_file: Path | None = None
    fs_registration: Literal["header", "bbregister"] = "header"
    fs_missing: Literal["excluded", "zero"] = "excluded"
    fs_time_limit: float | None = None
    t1w_mask: Path | None = None
    roi_source: RoiSource | None = None
    task: str | None = None
    baseline: Baseline | None = None
    pooling: Pooling | None = None
    force_config: bool = False
    runs_per_partition: int | None = None
    work_dir: Path | None = None
    keep_work: bool = False
    command_words: Sequence[str] = ()
    stimuli_dir: Path | None = None
    n_procs: int = 1
    n_threads: int | None = None
    memory_mb: int = 4000
    slurm: SlurmSettings | None = None

    def configured(self, config: DatasetConfig) -> DatasetConfig:
        """A configuration with what these options put in its place."""
        glm = replace(
            config.glm,
            baseline=self.baseline or config.glm.baseline,
            pooling=self.pooling or config.glm.pooling,
        )
        runs = replace(config.runs, task=self.task or config.runs.task)
        return replace(config, runs=runs, glm=glm)

    def reconstructions(self, out_dir: Path) -> Path:
        """Folder where `--normalization freesurfer` finds or makes reconstructions."""
        return self.fs_subjects_dir or out_dir / "sourcedata" / "freesurfer"

    @property
    def has_reconstructions(self) -> bool:
        """Whether FreeSurfer's folders are there, or will be made, for every subject."""
        return self.fs_subjects_dir is not None or self.normalization == "freesurfer"

    def regions_from(self) -> RoiSource:
        """Whose regions are looked at: those of one atlas for all, or of each subject."""
        if self.roi_source is not None:
            return self.roi_source
        return "fsaverage" if self.normalization == "freesurfer" else "subject"

    def threads_per_step(self, n_subjects: int) -> int:
        """Processors that one step may use."""
        is_alone = n_subjects == 1 and self.slurm is None
        return self.n_threads or (self.n_procs if is_alone else 1)


def partition_runs(n_runs: int, runs_per_partition: int) -> tuple[tuple[int, ...], ...]:
    """Group runs, odd and even ones apart, so that halves of the runs are partitions as well.

    Crossnobis distances need partitions whose noise is independent. Where each picture is shown
    once a run, slow directions of a single run's betas are nearly undetermined
    (`conceptrsa.interfaces.numerics.pooling`), and a distance from such betas is little but noise.
    A partition of a few runs, pooled jointly, does not have that.

    Parameters
    ----------
    n_runs : int
    runs_per_partition : int
        At least as many are in a partition, unless a half of the runs has fewer.

    Returns
    -------
    tuple of tuple of int
        Runs of each partition, counted from 0: of the 1st, 3rd, ... runs in the 1st, 3rd, ...
        partition, of the others in the others. Within a half they take turns, so that each
        partition spans all of the experiment.

    Examples
    --------
    >>> partition_runs(7, 1)
    ((0,), (1,), (2,), (3,), (4,), (5,), (6,))
    >>> partition_runs(9, 2)
    ((0, 4, 8), (1, 5), (2, 6), (3, 7))
    """
    halves = [_groups(range(first, n_runs, 2), runs_per_partition) for first in (0, 1)]
    return tuple(group for group in chain(*zip_longest(*halves)) if group)


def _groups(runs: Sequence[int], size: int) -> list[tuple[int, ...]]:
    n_groups = max(1, len(runs) // size)
    return [tuple(runs[first::n_groups]) for first in range(n_groups)]
