"""Options of the participant level, as the command line gives them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, Literal

from conceptrsa.bids_config.names import warn_once
from conceptrsa.bids_config.schema import Baseline, DatasetConfig, Pooling

EngineName = Literal["python", "spm"]
Normalization = Literal["python", "freesurfer"]
RunModel = Literal["concatenated", "sessions"]
RoiSource = Literal["template", "subject", "fsaverage"]
FreeSurferRegistration = Literal["header", "bbregister"]
MissingVoxels = Literal["excluded", "zero"]
Ignored = Literal["slicetiming", "orientation"]
IGNORED_BY_FMRIPREP = ("fieldmaps", "sbref", "t2w", "flair", "fmap-jacobian")
"""Further choices of fMRIPrep's `--ignore`, for data that this tool never uses."""
RUNS_PER_PARTITION = 3
"""Default: the fewest runs whose pooled betas are nearly as precise as those of all runs."""

OF_SPM = ("engine", "spm")
OF_FREESURFER = ("normalization", "freesurfer")
"""The option, and its choice, without which some other options have no meaning."""


def option(default: Any, part: str, **known: Any) -> Any:
    """Make a field that is an option too; see `conceptrsa.pipelines.cli.parser.add_options`."""
    return field(default=default, metadata={"part": part, **known})


@dataclass(frozen=True)
class SlurmSettings:
    """Settings that all jobs of a run on Slurm share.

    Attributes
    ----------
    sbatch_args : str
        Options of sbatch; they follow, and override, those that a step itself asks for.
    template : str
        Beginning of every job's script, from `#!` on.
    max_jobs : int, optional
        Jobs of this run in the queue at once; None: no limit.
    max_tries : int
        Number of tries to submit a job while Slurm cannot be reached.
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
    """Options of the participant level, as the command line gives them.

    The first paragraph on a field is the help of its option, if it has one; see
    `conceptrsa.pipelines.cli.parser.add_options` for the fields' metadata.

    Attributes
    ----------
    engine : {'python', 'spm'}
        Program that does the steps up to the betas: the built-in engine, or SPM12.
    normalization : {'python', 'freesurfer'}
        Program that takes betas to MNI305: the built-in registration to the template, or
        FreeSurfer's recon-all and mri_vol2vol.
    participant_labels : sequence of str, optional
        Use only these participants, with or without sub- (default: all).
    session_labels : sequence of str, optional
        Use only these sessions, with or without ses- (default: all).
    filter_file : Path, optional
        Select bold and t1w images by the BIDS entities in this JSON file, as in fMRIPrep.
    database_dir : Path, optional
        Has no effect; accepted so that fMRIPrep's commands work. File names are read at every
        start.
    derivatives_dir : Path, optional
        Start from these fMRIPrep derivatives; slice timing, realignment and coregistration are
        then skipped.
    space : str, optional
        Use fMRIPrep's runs in this space, spelt as for --output-spaces. From T1w, betas go to
        MNI305; in a standard space such as MNI152NLin2009cAsym:res-2 they stay in it (default: the
        configuration's, else T1w, else the only standard space found).
    atlas : Path, optional
        Take regions from this label volume, in the standard space of fMRIPrep's runs; another grid
        is resampled by nearest neighbour. {subject} in the name stands for the participant's label
        (default: the configuration's, else fMRIPrep's desc-aparcaseg_dseg in that space).
    ignore : sequence of {'slicetiming', 'orientation'}
        Skip slice timing correction; accept images whose orientation is uncertain.
    validate : bool
        Run the BIDS validator on the data set first.
    spm_command : str, optional
        Command that runs SPM when 'script FILE.m' follows it, for example
        "/opt/spm12/run_spm12.sh /opt/mcr/v97 script" (default: $SPMMCRCMD, else SPM's launcher on
        the PATH with $MCR).
    spm_time_limit : float, optional
        Stop an SPM process after this many minutes (default: 360).
    run_model : {'concatenated', 'sessions'}
        With --engine spm: model all runs as one session, with a filter, AR(1) and constant per run
        (concatenated, as in the paper), or each run as an SPM session (sessions).
    fs_subjects_dir : Path, optional
        Use FreeSurfer reconstructions in this folder, named sub-XX; with --normalization
        freesurfer, missing ones are made there (default then: OUT_DIR/sourcedata/freesurfer).
    fs_license_file : Path, optional
        FreeSurfer's licence file (default: $FS_LICENSE, else $FREESURFER_HOME/license.txt).
    fs_registration : {'header', 'bbregister'}
        Align the EPI with the reconstruction by the coregistration alone (header), or refine that
        with bbregister.
    fs_missing : {'excluded', 'zero'}
        When FreeSurfer interpolates near voxels without betas: leave those voxels out (excluded),
        or count them as 0, as in the paper (zero).
    fs_time_limit : float, optional
        Stop recon-all after this many minutes (default: 1440).
    t1w_mask : Path, optional
        Brain masks of the T1w images: a file name with {subject} for the label, or a folder with
        sub-*/anat/sub-*_desc-brain_mask.nii.gz (default: FreeSurfer's or fMRIPrep's if present,
        else made by a network).
    roi_source : {'template', 'subject', 'fsaverage'}, optional
        Take regions from one packaged atlas for all participants (template); from each
        participant's reconstruction, or the packaged atlas fitted to the T1w image (subject); or
        from fsaverage (default: subject; fsaverage with --normalization freesurfer).
    task : str, optional
        Use this task, with or without task- (default: the configuration's).
    baseline : {'explicit', 'implicit'}, optional
        Model fixation as a regressor, as in the paper (explicit), or leave it to the constant
        (implicit) (default: the configuration's).
    pooling : {'joint', 'mean'}, optional
        Combine runs in one model (joint), or average the betas of single runs (mean), which is far
        noisier if a picture is shown once per run (default: the configuration's, else joint).
    force_config : bool
        Use a configuration other than the one that the output folder was made with.
    runs_per_partition : int, optional
        Pool at least this many runs in each partition of --run-betas, odd and even runs apart; 1
        takes every run by itself, which is far noisier (default: 3).

        None: no run-wise betas.
    work_dir : Path, optional
        Keep intermediate files here; a run that is started again continues from them (default:
        OUT_DIR/.work).
    keep_work : bool
        Keep all intermediate files, so that other settings can be tried without repeating every
        step (default: large files are removed as soon as no step needs them).
    command_words : sequence of str
        The command itself, which messages quote if a subject must be processed again; empty if the
        command has no `--participant-label`.
    stimuli_dir : Path, optional
        Pictures; every stimulus of the events must have one, which is checked before anything
        runs.
    n_procs : int
        Run this many processes, or regions of a comparison, at once; -1: one per processor
        (default: all processors that the machine, container or job allows).
    n_threads : int, optional
        Let one step use this many processors (default: all of --nprocs for one participant, else
        1).

        On Slurm 1 by default.
    memory_mb : int
        Limit the memory of all steps, or of regions compared at once, to this many MB (default: for
        steps 4000, or 90 percent of what is available if that is less; for a comparison, what is
        available).
    slurm : SlurmSettings, optional
        Submit every step as a Slurm job, without `n_procs` and `memory_mb`; None: run them here.
    """

    engine: EngineName = option("python", "engine", environment="CONCEPTRSA_ENGINE")
    normalization: Normalization = option(
        "python", "engine", environment="CONCEPTRSA_NORMALIZATION"
    )
    participant_labels: Sequence[str] | None = option(
        None, "selection", flags=("--participant-label",), prefix="sub-"
    )
    session_labels: Sequence[str] | None = option(
        None, "data", flags=("--session-label",), prefix="ses-"
    )
    filter_file: Path | None = option(None, "data", flags=("--bids-filter-file",))
    database_dir: Path | None = option(None, "data", flags=("--bids-database-dir",))
    derivatives_dir: Path | None = option(None, "data", flags=("-d", "--derivatives"))
    space: str | None = option(None, "data", metavar="SPACE")
    atlas: Path | None = option(None, "data")
    ignore: Sequence[Ignored] = ()
    validate: bool = option(
        True,
        "data",
        flags=("--skip-bids-validation",),
        help="do not run the BIDS validator on the data set first",
    )
    spm_command: str | None = option(None, "programs", metavar="COMMAND", needs=OF_SPM)
    spm_time_limit: float | None = option(None, "programs", metavar="MINUTES", needs=OF_SPM)
    run_model: RunModel = option("concatenated", "engine", needs=OF_SPM)
    fs_subjects_dir: Path | None = option(None, "programs")
    fs_license_file: Path | None = option(None, "programs", needs=OF_FREESURFER)
    fs_registration: FreeSurferRegistration = option("header", "programs", needs=OF_FREESURFER)
    fs_missing: MissingVoxels = option("excluded", "programs", needs=OF_FREESURFER)
    fs_time_limit: float | None = option(None, "programs", metavar="MINUTES", needs=OF_FREESURFER)
    t1w_mask: Path | None = option(None, "engine", metavar="FILE_OR_DIR")
    roi_source: RoiSource | None = option(None, "engine")
    task: str | None = option(
        None, "selection", flags=("--task-id",), metavar="TASK", prefix="task-"
    )
    baseline: Baseline | None = option(None, "data")
    pooling: Pooling | None = option(None, "engine")
    force_config: bool = False
    runs_per_partition: int | None = option(None, "data")
    work_dir: Path | None = option(None, "data", flags=("-w", "--work-dir"))
    keep_work: bool = option(False, "data")
    command_words: Sequence[str] = ()
    stimuli_dir: Path | None = None
    n_procs: int = option(
        1, "resources", flags=("--nprocs", "--nthreads", "--n-cpus", "--n-jobs"), processors=True
    )
    n_threads: int | None = option(None, "resources of a step", flags=("--omp-nthreads",))
    memory_mb: int = option(4000, "resources", flags=("--mem-mb",), metavar="MB")
    slurm: SlurmSettings | None = None

    def configured(self, config: DatasetConfig) -> DatasetConfig:
        """Give a configuration with the parts that these options replace."""
        glm = replace(
            config.glm,
            baseline=self.baseline or config.glm.baseline,
            pooling=self.pooling or config.glm.pooling,
        )
        task, space = self.task or config.runs.task, self.space or config.runs.space
        runs = replace(config.runs, task=task, space=space)
        atlas = config.atlas if self.atlas is None else self.atlas.resolve()
        return replace(config, runs=runs, glm=glm, atlas=atlas)

    def without_registration(self) -> "ParticipantOptions":
        """Give these options without those of registration, and warn of any that were given."""
        given = {
            "--fs-subjects-dir": self.fs_subjects_dir,
            "--roi-source": self.roi_source,
            "--t1w-mask": self.t1w_mask,
        }
        if unused := [name for name, value in given.items() if value is not None]:
            warn_once(
                f"{' and '.join(unused)} {'has' if len(unused) == 1 else 'have'} no effect: runs "
                "in a standard space need no registration"
            )
        return replace(
            self, normalization="python", fs_subjects_dir=None, roi_source=None, t1w_mask=None
        )

    def reconstructions(self, out_dir: Path) -> Path:
        """Give the folder where `--normalization freesurfer` finds or makes reconstructions."""
        return self.fs_subjects_dir or out_dir / "sourcedata" / "freesurfer"

    @property
    def has_reconstructions(self) -> bool:
        """Whether every subject has, or will get, a FreeSurfer reconstruction."""
        return self.fs_subjects_dir is not None or self.normalization == "freesurfer"

    def regions_from(self) -> RoiSource:
        """Say whose regions are used: those of one atlas for all, or of each subject."""
        if self.roi_source is not None:
            return self.roi_source
        return "fsaverage" if self.normalization == "freesurfer" else "subject"

    def threads_per_step(self, n_subjects: int) -> int:
        """Give the number of processors that one step may use."""
        is_alone = n_subjects == 1 and self.slurm is None
        return self.n_threads or (self.n_procs if is_alone else 1)


def partition_runs(n_runs: int, runs_per_partition: int) -> tuple[tuple[int, ...], ...]:
    """Group runs, odd and even ones apart, so that halves of the runs are partitions as well.

    Crossnobis distances need partitions whose noise is independent. If each picture is shown once
    per run, a single run hardly determines some slow directions of the betas
    (`conceptrsa.interfaces.numerics.pooling`), and a distance from such betas is mostly noise. A
    partition of a few runs, pooled jointly, avoids that.

    Parameters
    ----------
    n_runs : int
    runs_per_partition : int
        Smallest number in a partition, unless a half of the runs has fewer.

    Returns
    -------
    tuple of tuple of int
        Runs of each partition, counted from 0. Odd partitions hold odd runs, even partitions even
        runs. Within a half, partitions take runs in turn, so that each spans the whole
        experiment.

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
