"""`conceptrsa run BIDS_DIR OUT_DIR {participant,group}`: the tool as a BIDS App."""

import argparse
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.machine import available_memory, available_processors, limited_to
from conceptrsa.pipelines.cli.comparison_options import (
    add_comparison_options,
    read_comparison_options,
    share_given,
)
from conceptrsa.pipelines.cli.data_options import (
    add_dataset_options,
    add_ignore_option,
    add_rois_option,
    comparison_config,
    participant_config,
)
from conceptrsa.pipelines.cli.parser import add_options, add_version, given_options, option_of
from conceptrsa.pipelines.execution.plugin_settings import PLUGINS, read_plugin
from conceptrsa.pipelines.execution.slurm_queue import require_slurm
from conceptrsa.pipelines.participant_options import (
    IGNORED_BY_FMRIPREP,
    RUNS_PER_PARTITION,
    ParticipantOptions,
)

log = logging.getLogger(__name__)

ENGINE_PARTS = {"engine": "engine", "programs": "SPM and FreeSurfer", "resources": "resources"}
"""Parts of `ParticipantOptions` that several commands share, and their titles."""

ALSO_OF_GROUP_LEVEL = frozenset({
    "participant_labels", "task", "engine", "normalization", "n_procs", "n_threads", "memory_mb",
})  # fmt: skip
"""Options that the group level accepts, so that one command line can serve both levels."""


def add_parser(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "run",
        help="compute betas from raw BIDS or fMRIPrep data (participant), then compare (group)",
        description="participant: computes betas and regions of each subject, from raw BIDS or "
        "fMRIPrep derivatives. group: compares networks with the betas in OUT_DIR.",
        everyday=(
            "--dataset-config",
            "--rois",
            "--participant-label",
            "--task-id",
            "--derivatives",
            "--space",
            "--engine",
            "--normalization",
            "--work-dir",
            "--dry-run",
            "--nprocs",
            "--mem-mb",
            "--stimuli",
            "--features",
            "--models",
        ),
        examples=(
            "conceptrsa run bids out participant --dataset-config study.toml --dry-run",
            "conceptrsa run bids out participant --dataset-config study.toml \\\n"
            "    --derivatives fmriprep --participant-label 01 02",
            "conceptrsa run bids out group --models CLIP timm:vit_base_patch16_224",
        ),
    )
    add_version(parser)  # BIDS Apps have it, and `conceptrsa run` is the entry point of the image
    parser.add_argument("bids_dir", type=Path, metavar="BIDS_DIR", help="read this BIDS data set")
    parser.add_argument(
        "out_dir", type=Path, metavar="OUT_DIR", help="write derivatives and results here"
    )
    parser.add_argument(
        "level",
        choices=("participant", "group"),
        help="process each participant, or compare models",
    )
    add_dataset_options(parser, "the one recorded in OUT_DIR", with_force=True)
    add_rois_option(
        parser,
        "the configuration's; at the participant level, numbers, names or patterns of aparc+aseg",
    )
    add_options(parser, ParticipantOptions, "selection")
    group = parser.add_argument_group("participant level")
    add_options(group, ParticipantOptions, "data")
    add_ignore_option(group)
    group.add_argument(
        "--run-betas", action="store_true",
        help="also write betas of partitions of the runs and the residual covariance, at the "
        "voxels of the regions, for crossnobis and Mahalanobis distances",
    )  # fmt: skip
    group.add_argument(
        "--dry-run", action="store_true",
        help="run nothing; list subjects, runs, steps with their time and disk space, and what is "
        "wrong or missing",
    )  # fmt: skip
    add_engine_options(parser)
    add_comparison_options(parser)
    parser.set_defaults(function=run)


def add_engine_options(
    parser: argparse.ArgumentParser,
    parts: Sequence[str] = tuple(ENGINE_PARTS),
    environment: Mapping[str, str] = os.environ,
) -> None:
    """Add the engine, its programs and its resources; the environment may set defaults."""
    for part in parts:
        group = parser.add_argument_group(ENGINE_PARTS[part])
        add_options(group, ParticipantOptions, part, environment=environment)
    if "resources" in parts:
        add_options(group, ParticipantOptions, "resources of a step")
        group.add_argument(
            "--plugin", choices=PLUGINS,
            help="run steps in several processes (MultiProc), in one process (Linear), or as Slurm "
            "jobs (SLURM) (default: MultiProc)",
        )  # fmt: skip
        group.add_argument(
            "--use-plugin", type=Path, metavar="FILE",
            help="read nipype's plugin and its arguments from YAML or JSON, as in fMRIPrep; they "
            "override the options above",
        )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Run one level."""
    return _run_participant(args) if args.level == "participant" else _run_group(args)


def _run_participant(args: argparse.Namespace) -> int:
    from conceptrsa.bids_config.reader import choose_by_labels
    from conceptrsa.pipelines.dry_run import report_dry_run
    from conceptrsa.pipelines.participants import run_participants

    given = given_options(ParticipantOptions, args)
    ignored = given.get("ignore", ())
    if unused := [what for what in ignored if what in IGNORED_BY_FMRIPREP]:
        log.warning("--ignore %s has no effect: such data are never used", " ".join(unused))
    given["ignore"] = [what for what in ignored if what not in unused]
    if args.run_betas:
        given.setdefault("runs_per_partition", RUNS_PER_PARTITION)
    elif "runs_per_partition" in given:
        raise InputError("--runs-per-partition needs --run-betas: give both, or leave it out")
    options = participant_options(
        given,
        args.plugin,
        args.use_plugin,
        command_words=("conceptrsa", *args.words),
        stimuli_dir=args.stimuli,
        force_config=args.force_dataset_config,
    )
    force_given = options.force_config and options.baseline is None and options.pooling is None
    # With --rois, the regions of the configuration need not be in the atlas.
    named_by = None if args.rois else options.atlas
    config = participant_config(args.dataset_config, args.out_dir, force_given, named_by)
    if args.rois:
        atlas = config.atlas if options.atlas is None else options.atlas
        config = replace(config, rois=choose_by_labels(args.rois, atlas))
    if args.dry_run:
        return report_dry_run(args.bids_dir, args.out_dir, config, options)
    return run_participants(args.bids_dir, args.out_dir, config, options)


def participant_options(
    given: Mapping[str, Any], plugin_name: str | None, plugin_file: Path | None, **others: Any
) -> ParticipantOptions:
    """Combine given options with nipype's plugin and others.

    Raises
    ------
    InputError
        As `require_fitting`; if a plugin cannot be read or used; or if one step may use more
        processors than all steps together.
    """
    require_fitting(given)
    plugin = read_plugin(plugin_name, plugin_file)
    there = {"n_procs": available_processors(), "memory_mb": _memory_for_steps()}
    options = ParticipantOptions(**{**there, **given, **others})
    options = replace(options, n_procs=plugin.n_procs or options.n_procs, slurm=plugin.slurm)
    if plugin.memory_gb is not None:
        options = replace(options, memory_mb=round(1000 * plugin.memory_gb))
    if plugin.slurm is not None:
        require_slurm()
        return options
    if options.memory_mb * 1e6 > available_memory():
        log.warning(
            "the steps may use %.1f GB together, but this machine, container or job has %.1f GB, "
            "so steps may be killed: lower --mem-mb, or memory_gb in --use-plugin",
            options.memory_mb / 1000, available_memory() / 1e9,
        )  # fmt: skip
    if options.n_threads is not None and options.n_threads > options.n_procs:
        raise InputError(
            f"--omp-nthreads {options.n_threads} is more than the {options.n_procs} processors of "
            "--nprocs or --use-plugin: lower it, or raise those"
        )
    return options


def _memory_for_steps() -> int:
    """Give the default memory of all steps in MB; a tenth is left to the program itself."""
    return min(ParticipantOptions.memory_mb, int(0.9 * available_memory() / 1e6))


def require_fitting(given: Mapping[str, Any]) -> None:
    """Refuse an impossible choice in the environment, and options of an engine not chosen.

    Raises
    ------
    InputError
        For the first of them.
    """
    hints = get_type_hints(ParticipantOptions)
    chosen = {
        entry.name: given.get(entry.name, entry.default) for entry in fields(ParticipantOptions)
    }
    for entry in fields(ParticipantOptions):
        # argparse checks only what was typed.
        if variable := entry.metadata.get("environment"):
            value, choices = chosen[entry.name], get_args(hints[entry.name])
            if value not in choices:
                raise InputError(f"${variable} is {value!r}: set it to {' or '.join(choices)}")
        other, needed = entry.metadata.get("needs", (entry.name, chosen[entry.name]))
        if entry.name in given and chosen[other] != needed:
            raise InputError(
                f"{option_of(ParticipantOptions, entry.name)} needs --{other} {needed}: give both, "
                "or leave it out"
            )


def _run_group(args: argparse.Namespace) -> int:
    from conceptrsa.analysis.betas.read import find_format, find_regions, read_betas
    from conceptrsa.pipelines.cli.network_choice import require_models
    from conceptrsa.pipelines.cli.run_comparison import compare_with_models
    from conceptrsa.pipelines.execution.output_folders import Input, require_separate
    from conceptrsa.pipelines.execution.run_lock import only_run

    given = given_options(ParticipantOptions, args).keys() - ALSO_OF_GROUP_LEVEL
    of_participants = [option_of(ParticipantOptions, name) for name in sorted(given)]
    for name in ("run_betas", "dry_run", "plugin", "use_plugin"):
        if getattr(args, name):
            of_participants.append(f"--{name.replace('_', '-')}")
    if of_participants:
        raise InputError(
            f"{of_participants[0]} belongs to the participant level: leave it out for group"
        )
    of_options = ["rois"] if args.rois else []
    config, notes = comparison_config(
        args.dataset_config, args.force_dataset_config, args.out_dir, of_options
    )
    options = read_comparison_options(args)
    own_stimuli = args.bids_dir / "stimuli"
    # With features they are only shown, where they are there.
    if options.stimuli is None and (options.features is None or own_stimuli.is_dir()):
        options = replace(options, stimuli=own_stimuli)
    inputs = [
        Input("BIDS_DIR", args.bids_dir, "data set"),
        Input("--features", options.features, "files"),
        Input("--stimuli", options.stimuli, "files"),
    ]
    require_separate(args.out_dir, inputs, part="group")
    require_models(options, config.stimuli if config else None)
    if config is not None and args.rois:
        notes = (*notes, "regions are those of --rois, not those of the data set configuration")
    of_subjects = {folder.name for folder in args.out_dir.glob("sub-*") if folder.is_dir()}
    if options.part is not None:
        of_subjects = set()  # the jobs of all parts read them at the same time
    with only_run([args.out_dir], of_subjects):
        form = find_format(args.out_dir, "derivatives")
        rois = find_regions(args.out_dir, form, args.rois or (config.rois if config else None))
        patterns = read_betas(
            args.out_dir,
            rois,
            betas_format="derivatives",
            participants=args.participant_labels,
            task=args.task,
            with_runs=options.settings.needs_runs,
        )
        study = args.bids_dir.resolve().name
        with limited_to(share_given(args)):
            return compare_with_models(patterns, config, options, args.out_dir, rois, notes, study)
