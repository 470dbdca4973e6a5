"""Options that several commands share."""

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import get_args

from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.recorded import FORCE
from conceptrsa.pipelines.execution.plugin_settings import PLUGINS
from conceptrsa.pipelines.options import (
    IGNORED_BY_FMRIPREP,
    RUNS_PER_PARTITION,
    EngineName,
    Ignored,
    Normalization,
)

ENGINE_VARIABLE = "CONCEPTRSA_ENGINE"
NORMALIZATION_VARIABLE = "CONCEPTRSA_NORMALIZATION"
ENGINES: tuple[str, ...] = get_args(EngineName)
NORMALIZATIONS: tuple[str, ...] = get_args(Normalization)
IGNORED: tuple[str, ...] = (*get_args(Ignored), *IGNORED_BY_FMRIPREP)


def add_resource_options(parser: argparse.ArgumentParser) -> None:
    """Add the number of processes and the memory, as fMRIPrep spells them."""
    group = parser.add_argument_group("resources")
    group.add_argument(
        "--nprocs", "--nthreads", "--n-cpus", type=positive, default=_processors(), metavar="N",
        help="processes at once (default: all processors of this machine)",
    )  # fmt: skip
    group.add_argument(
        "--omp-nthreads", type=positive, metavar="N",
        help="processors that one step may use (default: all of --nprocs for one subject, else 1)",
    )  # fmt: skip
    group.add_argument(
        "--mem-mb", type=positive, default=4000, metavar="MB",
        help="memory of all steps together (default: 4000)",
    )  # fmt: skip
    group.add_argument(
        "--plugin", choices=PLUGINS,
        help="what runs the steps: processes of this machine, one process, or jobs of Slurm, one "
        "a step (default: MultiProc)",
    )  # fmt: skip
    group.add_argument(
        "--use-plugin", type=Path, metavar="FILE",
        help="nipype's plugin and its arguments in YAML or JSON, as for fMRIPrep; they win over "
        "the options above",
    )  # fmt: skip


def add_selection_options(parser: argparse.ArgumentParser) -> None:
    """Add which subjects and which task are taken."""
    parser.add_argument(
        "--participant-label", nargs="+", type=label_of("sub-"), metavar="LABEL",
        help="with or without sub- (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--task-id", type=label_of("task-"), metavar="TASK",
        help="in place of the configuration's, with or without task-",
    )  # fmt: skip


def add_input_options(group: argparse._ArgumentGroup) -> None:
    """Add how the raw data set is read, as fMRIPrep spells it."""
    group.add_argument(
        "--session-label", nargs="+", type=label_of("ses-"), metavar="LABEL",
        help="with or without ses- (default: all)",
    )  # fmt: skip
    group.add_argument(
        "--bids-filter-file", type=Path, metavar="FILE",
        help="JSON: entities that the names of bold and t1w images must have, as for fMRIPrep",
    )  # fmt: skip
    group.add_argument(
        "--bids-database-dir", type=Path, metavar="DIR",
        help="taken, as in fMRIPrep's commands, and not needed: names are read at every start",
    )  # fmt: skip
    group.add_argument(
        "--skip-bids-validation", action="store_true",
        help="do not let the BIDS validator look at the data set first",
    )  # fmt: skip
    group.add_argument(
        "-d", "--derivatives", type=Path, metavar="DIR",
        help="start from what fMRIPrep made of the data set, with T1w among its --output-spaces; "
        "slice timing, realignment and coregistration are left out",
    )  # fmt: skip
    add_ignore_option(group)


def add_ignore_option(group: argparse._ActionsContainer, choices: Sequence[str] = IGNORED) -> None:
    """Add what of the images is gone on without, as fMRIPrep spells it."""
    said = {
        "slicetiming": "slices are not corrected for their timing, and need no SliceTiming",
        "orientation": "images are taken whose header does not tell their orientation (sform and "
        "qform codes 0) or tells two",
    }
    others = ", ".join(what for what in choices if what not in said)
    group.add_argument(
        "--ignore", nargs="+", choices=choices, default=(),
        help="; ".join(f"{what}: {said[what]}" for what in choices if what in said)
        + " (default: such data are refused)"
        + (f"; {others}: of fMRIPrep, not used in any case" if others else ""),
    )  # fmt: skip


def label_of(prefix: str) -> Callable[[str], str]:
    """Make a reader of labels, for argparse, that takes a BIDS prefix off."""

    def label(text: str) -> str:
        return text.removeprefix(prefix)

    return label


def add_dataset_options(
    parser: argparse.ArgumentParser, default: str = "none", with_force: bool = False
) -> None:
    """Add the data set's configuration; `default` says what is taken where it is not given."""
    parser.add_argument(
        "--dataset-config", metavar="NAME_OR_PATH",
        help="what is particular to the data set: a TOML file, or demo or ds001246 "
        f"(default: {default})",
    )  # fmt: skip
    if with_force:
        parser.add_argument(
            FORCE, action="store_true",
            help="take --dataset-config although the derivatives were made with another one",
        )  # fmt: skip


def add_engine_options(
    parser: argparse.ArgumentParser, environment: Mapping[str, str] = os.environ
) -> None:
    """Add who does the steps, by default as the environment says."""
    group = parser.add_argument_group("engine")
    group.add_argument(
        "--engine", choices=ENGINES, default=environment.get(ENGINE_VARIABLE, "python"),
        help="what does the steps up to the betas: the embedded engine, or SPM12 (default: "
        f"${ENGINE_VARIABLE}, else python)",
    )  # fmt: skip
    group.add_argument(
        "--normalization", choices=NORMALIZATIONS,
        default=environment.get(NORMALIZATION_VARIABLE, "python"),
        help="what takes betas to MNI305: registration with the template, or FreeSurfer's "
        f"recon-all and mri_vol2vol (default: ${NORMALIZATION_VARIABLE}, else python)",
    )  # fmt: skip
    group.add_argument(
        "--run-model", choices=("concatenated", "sessions"),
        help="engine spm: all runs as one session, with a filter, AR(1) and constant a run, as in "
        "the paper; or one SPM session a run (default: concatenated)",
    )  # fmt: skip
    group.add_argument(
        "--pooling", choices=("joint", "mean"),
        help="betas over runs: as of one model of all of them, or their mean, far noisier where a "
        "picture is shown once a run (default: the configuration's, joint)",
    )  # fmt: skip
    group.add_argument(
        "--roi-source", choices=("template", "subject", "fsaverage"),
        help="whose regions: one packaged atlas for all subjects (template); each subject's own "
        "(subject), from its reconstruction where there is one, else from the packaged atlas "
        "fitted to its T1w image; or fsaverage's (default: subject; fsaverage with "
        "--normalization freesurfer, as in the paper)",
    )  # fmt: skip
    group.add_argument(
        "--t1w-mask", type=Path, metavar="FILE_OR_DIR",
        help="brain masks of the T1w images: a file, with {subject} for the label, or "
        "a folder with sub-*/anat/sub-*_desc-brain_mask.nii.gz (default: FreeSurfer's or "
        "fMRIPrep's where there is one, else found by a network)",
    )  # fmt: skip


def add_run_betas_options(group: argparse._ArgumentGroup) -> None:
    """Add run-wise betas, for crossnobis and Mahalanobis distances."""
    group.add_argument(
        "--run-betas", action="store_true",
        help="write betas of partitions of the runs, and the covariance of the residuals, at the "
        "voxels of the regions: what crossnobis and Mahalanobis distances need",
    )  # fmt: skip
    group.add_argument(
        "--runs-per-partition", type=positive, metavar="N",
        help="runs pooled in each partition of --run-betas, at least, odd and even ones apart; 1: "
        f"every run by itself, far noisier (default: {RUNS_PER_PARTITION})",
    )  # fmt: skip


def runs_per_partition(args: argparse.Namespace) -> int | None:
    """Runs a partition that the two options of run-wise betas ask for; None for no such betas.

    Raises
    ------
    InputError
        If there is a number but no `--run-betas`.
    """
    if args.run_betas:
        return args.runs_per_partition or RUNS_PER_PARTITION
    if args.runs_per_partition is not None:
        raise InputError("--runs-per-partition is of --run-betas; give both, or leave it out")
    return None


def add_program_options(parser: argparse.ArgumentParser) -> None:
    """Add where SPM and FreeSurfer are."""
    group = parser.add_argument_group("SPM and FreeSurfer")
    group.add_argument(
        "--spm-command", metavar="COMMAND",
        help="runs SPM given 'script FILE.m', e.g. \"/opt/spm12/run_spm12.sh /opt/mcr/v97 script\" "
        "(default: $SPMMCRCMD, else SPM's launcher on the PATH with $MCR)",
    )  # fmt: skip
    group.add_argument(
        "--spm-time-limit", type=positive, metavar="MINUTES",
        help="after which one SPM process is stopped (default: 360)",
    )  # fmt: skip
    group.add_argument(
        "--fs-subjects-dir", type=Path, metavar="DIR",
        help="FreeSurfer reconstructions, sub-XX each; with --normalization freesurfer missing "
        "ones are made there (default then: OUT_DIR/sourcedata/freesurfer)",
    )  # fmt: skip
    group.add_argument(
        "--fs-license-file", type=Path, metavar="FILE",
        help="FreeSurfer's licence (default: $FS_LICENSE, else $FREESURFER_HOME/license.txt)",
    )  # fmt: skip
    group.add_argument(
        "--fs-registration", choices=("header", "bbregister"),
        help="how FreeSurfer finds the EPI in the reconstruction: where the coregistration put it, "
        "or refined from there (default: header)",
    )  # fmt: skip
    group.add_argument(
        "--fs-time-limit", type=positive, metavar="MINUTES",
        help="after which recon-all is stopped (default: 1440)",
    )  # fmt: skip
    group.add_argument(
        "--fs-missing", choices=("excluded", "zero"),
        help="voxels without betas, where FreeSurfer interpolates their neighbours: left out, or "
        "taken for 0 as in the paper (default: excluded)",
    )  # fmt: skip


def require_fitting(args: argparse.Namespace) -> None:
    """Refuse an engine or normalization that is none, and options of one that is not chosen.

    Raises
    ------
    InputError
        For the first of them.
    """
    for variable, value, choices in (
        # argparse looks at what was typed only.
        (ENGINE_VARIABLE, args.engine, ENGINES),
        (NORMALIZATION_VARIABLE, args.normalization, NORMALIZATIONS),
    ):
        if value not in choices:
            raise InputError(f"${variable} is {value!r}; set it to one of: {', '.join(choices)}")
    for options, chosen, needed, value in (
        (("run_model", "spm_command", "spm_time_limit"), args.engine, "engine", "spm"),
        (
            ("fs_license_file", "fs_registration", "fs_missing", "fs_time_limit"),
            args.normalization,
            "normalization",
            "freesurfer",
        ),
    ):
        for option in options:
            if getattr(args, option, None) is not None and chosen != value:
                raise InputError(
                    f"--{option.replace('_', '-')} is of --{needed} {value}; leave it out, or "
                    f"choose --{needed} {value}"
                )


def add_comparison_options(parser: argparse.ArgumentParser) -> None:
    """Add what the comparison of models and brain can be told."""
    group = parser.add_argument_group("comparison")
    group.add_argument(
        "--stimuli", type=Path, metavar="DIR",
        help="pictures named <stimulus>.<ext>, with labels.tsv (stimulus, label) for language "
        "models, which are left out where there are no labels",
    )  # fmt: skip
    group.add_argument(
        "--features", type=Path, metavar="DIR",
        help="features in place of networks: <model>.tsv or <model>.npz, and models.tsv",
    )  # fmt: skip
    group.add_argument(
        "--preset", choices=("recommended", "paper"), default="recommended",
        help="recommended: voxels chosen on odd runs and scored on even ones and the reverse, "
        "intervals, permutation tests; paper: the paper's way to the letter (default: recommended)",
    )  # fmt: skip
    group.add_argument(
        "--voxel-selection", choices=("top-n", "threshold", "best-n", "random", "all"),
        help="top-n: the N voxels of the highest score; threshold: every voxel above the "
        "subject's (N+1)th hippocampal one; best-n: as many as give each region its highest noise "
        "ceiling; random: N at random; all (default: best-n, and all where there are no betas of "
        "odd and even runs; paper: top-n)",
    )  # fmt: skip
    group.add_argument(
        "--voxel-score", choices=("max-beta", "reliability", "ncsnr"),
        help="what voxels are ordered by: highest beta for any stimulus; correlation between "
        "halves of the runs; ratio of signal to noise over runs (default: max-beta)",
    )  # fmt: skip
    group.add_argument(
        "--selection-data", choices=("other-half", "same"),
        help="runs that voxels are chosen by: the half that is not scored, or the scored runs, "
        "which is circular and labelled so (default: other-half; paper: same)",
    )  # fmt: skip
    group.add_argument("--n-voxels", type=positive, metavar="N", help="default: 30")
    group.add_argument(
        "--skip-zeros", action="store_true", default=None,
        help="never choose voxels with a beta of exactly 0, as the authors' code",
    )  # fmt: skip
    group.add_argument(
        "--remove-mean-pattern", action="store_true", default=None,
        help="subtract the mean pattern over stimuli, voxel by voxel, before distances are taken",
    )  # fmt: skip
    group.add_argument(
        "--rdm-metric",
        choices=("correlation", "cosine", "euclidean", "mahalanobis", "crossnobis"),
        help="distance between patterns; the last two need what the participant level writes "
        "with --run-betas (default: correlation)",
    )  # fmt: skip
    group.add_argument(
        "--rsa-metric",
        choices=("pearson", "spearman", "kendall-tau-a", "rho-a", "cosine", "whitened-cosine"),
        help="comparison of RDMs (default: pearson)",
    )  # fmt: skip
    group.add_argument(
        "--n-random-draws", type=positive, metavar="N",
        help="draws of the random control of Figure 1 (default: 100)",
    )  # fmt: skip
    group.add_argument(
        "--random-replacement", action="store_true", default=None,
        help="draw them with replacement, as the authors' code",
    )  # fmt: skip
    group.add_argument(
        "--groups", choices=("paper", "authors-code"),
        help="authors-code: ICMLM among the visual models, as a slip of theirs has it "
        "(default: paper, as the table of models says)",
    )  # fmt: skip
    group.add_argument(
        "--n-permutations", type=positive, metavar="N",
        help="permutations of the stimuli's labels (default: 10000)",
    )  # fmt: skip
    group.add_argument(
        "--n-bootstraps", type=positive, metavar="N", help="bootstrap samples (default: 1000)"
    )
    group.add_argument(
        "--multiverse", action=argparse.BooleanOptionalAction,
        help="score every voxel selection x distance x comparison as well (default: with the "
        "preset recommended)",
    )  # fmt: skip
    group.add_argument(
        "--reference-model", metavar="NAME",
        help="model that each other one is tested against (default: ResNet50, else the first "
        "visual one, else the first)",
    )  # fmt: skip
    group.add_argument(
        "--check-paper", action="store_true",
        help="hold voxel counts, ceilings and peaks against the numbers that the paper published, "
        "in group/published_check.tsv; with --preset paper and the paper's betas",
    )  # fmt: skip
    group.add_argument("--seed", type=int, help="of everything random (default: 0)")


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def positive(text: str) -> int:
    """Read a whole number from 1 on, for argparse."""
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not at least 1")
    return value
