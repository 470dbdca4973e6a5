"""What the command line says about a run of the participant level."""

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
"""What fMRIPrep's `--ignore` knows besides, and this tool does not use in any case."""
RUNS_PER_PARTITION = 3
"""By default: the fewest whose pooled betas have nearly the precision of all runs pooled."""

OF_SPM = ("engine", "spm")
OF_FREESURFER = ("normalization", "freesurfer")
"""Options that have a meaning with one choice of another option only: that one, and the choice."""


def option(default: Any, part: str, **known: Any) -> Any:
    """Make a field that is an option too; see `conceptrsa.pipelines.cli.parser.add_options`."""
    return field(default=default, metadata={"part": part, **known})


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

    The first paragraph on a field is the help of its option, where it has one; see
    `conceptrsa.pipelines.cli.parser.add_options` for the fields' metadata.

    Attributes
    ----------
    engine : {'python', 'spm'}
        What does the steps up to the betas: the embedded engine, or SPM12.
    normalization : {'python', 'freesurfer'}
        What takes betas to MNI305: registration with the template, or FreeSurfer's recon-all and
        mri_vol2vol.
    participant_labels : sequence of str, optional
        With or without sub- (default: all).
    session_labels : sequence of str, optional
        With or without ses- (default: all).
    filter_file : Path, optional
        JSON: entities that the names of bold and t1w images must have, as for fMRIPrep.
    database_dir : Path, optional
        Accepted, as in fMRIPrep's commands, and without effect: names are read at every start.
    derivatives_dir : Path, optional
        Start from what fMRIPrep made of the data set; slice timing, realignment and coregistration
        are left out.
    space : str, optional
        Space of fMRIPrep's runs, as its --output-spaces spell it: T1w, from where betas go to
        MNI305, or a standard space such as MNI152NLin2009cAsym:res-2, in which they stay (default:
        the configuration's, else T1w, else the only standard space that is there).
    atlas : Path, optional
        Label volume in the standard space of fMRIPrep's runs, whose labels the regions are; in
        another grid it is resampled by nearest neighbour; {subject} in its name stands for the
        label of each (default: the configuration's, else fMRIPrep's desc-aparcaseg_dseg in that
        space).
    ignore : sequence of {'slicetiming', 'orientation'}
        Do not correct slices for their timing; take images whose orientation cannot be trusted.
    validate : bool
        Let the BIDS validator look at the data set first.
    spm_command : str, optional
        Runs SPM given 'script FILE.m', e.g. "/opt/spm12/run_spm12.sh /opt/mcr/v97 script"
        (default: $SPMMCRCMD, else SPM's launcher on the PATH with $MCR).
    spm_time_limit : float, optional
        After which one SPM process is stopped (default: 360).
    run_model : {'concatenated', 'sessions'}
        Engine spm: all runs as one session, with a filter, AR(1) and constant a run, as in the
        paper; or one SPM session a run.
    fs_subjects_dir : Path, optional
        FreeSurfer reconstructions, sub-XX each; with --normalization freesurfer missing ones are
        made there (default then: OUT_DIR/sourcedata/freesurfer).
    fs_license_file : Path, optional
        FreeSurfer's licence (default: $FS_LICENSE, else $FREESURFER_HOME/license.txt).
    fs_registration : {'header', 'bbregister'}
        How FreeSurfer finds the EPI in the reconstruction: where the coregistration put it, or
        refined from there.
    fs_missing : {'excluded', 'zero'}
        Voxels without betas, where FreeSurfer interpolates their neighbours: left out, or taken
        for 0 as in the paper.
    fs_time_limit : float, optional
        After which recon-all is stopped (default: 1440).
    t1w_mask : Path, optional
        Brain masks of the T1w images: a file, with {subject} for the label, or a folder with
        sub-*/anat/sub-*_desc-brain_mask.nii.gz (default: FreeSurfer's or fMRIPrep's where there
        is one, else found by a network).
    roi_source : {'template', 'subject', 'fsaverage'}, optional
        Whose regions: one packaged atlas for all subjects (template); each subject's own
        (subject), from its reconstruction where there is one, else from the packaged atlas fitted
        to its T1w image; or fsaverage's (default: subject; fsaverage with --normalization
        freesurfer, as in the paper).
    task : str, optional
        In place of the configuration's, with or without task-.
    baseline : {'explicit', 'implicit'}, optional
        Fixation as a regressor, as in the paper, or as what is left over (default: the
        configuration's).
    pooling : {'joint', 'mean'}, optional
        Betas over runs: as of one model of all of them, or their mean, far noisier where a picture
        is shown once a run (default: the configuration's, joint).
    force_config : bool
        Take a configuration other than the one that the output folder was made with.
    runs_per_partition : int, optional
        Runs pooled in each partition of --run-betas, at least, odd and even ones apart; 1: every
        run by itself, far noisier (default: 3).

        None stands for no run-wise betas.
    work_dir : Path, optional
        Intermediate files; a run started again goes on from them (default: OUT_DIR/.work).
    keep_work : bool
        Keep all intermediate files (default: the large ones are removed as soon as no step needs
        them); other settings can then be tried without doing every step again.
    command_words : sequence of str
        The command itself, to be named where a subject must be done again; empty if there is none
        that takes `--participant-label`.
    stimuli_dir : Path, optional
        Pictures that every stimulus of the events must be found among, before anything runs.
    n_procs : int
        Processes at once, or regions that a comparison computes at once; -1: as many as there are
        processors (default: all processors that the machine, container or job lets it use).
    n_threads : int, optional
        Processes that one step may use (default: all of --nprocs for one subject, else 1).

        On Slurm 1 by default.
    memory_mb : int
        Memory of all steps together (default: 4000, or nine tenths of what the machine, container
        or job has, if that is less), or of the regions that a comparison computes at once
        (default: what there is).
    slurm : SlurmSettings, optional
        Every step is a job of Slurm, with neither `n_procs` nor `memory_mb`; None: here.
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
        help="do not let the BIDS validator look at the data set first",
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
        """A configuration with what these options put in its place."""
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
        """Give these options without those of registration, which are not used; say which were."""
        given = {
            "--fs-subjects-dir": self.fs_subjects_dir,
            "--roi-source": self.roi_source,
            "--t1w-mask": self.t1w_mask,
        }
        if unused := [name for name, value in given.items() if value is not None]:
            warn_once(
                f"{' and '.join(unused)} {'has' if len(unused) == 1 else 'have'} no effect: runs "
                "in a standard space are not registered"
            )
        return replace(
            self, normalization="python", fs_subjects_dir=None, roi_source=None, t1w_mask=None
        )

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
