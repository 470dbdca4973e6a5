"""`conceptrsa run BIDS_DIR OUT_DIR {participant,group}`: the tool as a BIDS App."""

import argparse
import logging
from pathlib import Path
from typing import Any

from conceptrsa.bids_config.errors import InputError
from conceptrsa.pipelines.cli.network_options import add_network_options
from conceptrsa.pipelines.cli.shared_options import (
    add_comparison_options,
    add_dataset_options,
    add_engine_options,
    add_input_options,
    add_program_options,
    add_resource_options,
    add_run_betas_options,
    add_selection_options,
    require_fitting,
    runs_per_partition,
)
from conceptrsa.pipelines.execution.plugin_settings import read_plugin
from conceptrsa.pipelines.execution.slurm_queue import require_slurm
from conceptrsa.pipelines.options import IGNORED_BY_FMRIPREP, ParticipantOptions

log = logging.getLogger(__name__)
OF_PARTICIPANT_LEVEL = (
    "session_label", "bids_filter_file", "bids_database_dir", "skip_bids_validation",
    "derivatives", "ignore", "baseline", "run_betas", "runs_per_partition", "pooling", "run_model",
    "roi_source", "t1w_mask", "spm_command", "spm_time_limit", "fs_subjects_dir", "fs_license_file",
    "fs_registration", "fs_missing", "fs_time_limit", "work_dir", "keep_work", "dry_run",
    "plugin", "use_plugin",
)  # fmt: skip


def add_parser(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "run",
        help="raw BIDS data to betas and regions (participant), and to the answer (group)",
        description="participant: raw BIDS data to betas in MNI305 and regions of interest, per "
        "subject. group: the comparison over what participant left in OUT_DIR.",
    )
    parser.add_argument("bids_dir", type=Path, metavar="BIDS_DIR")
    parser.add_argument("out_dir", type=Path, metavar="OUT_DIR")
    parser.add_argument("level", choices=("participant", "group"))
    add_dataset_options(parser, "the one that OUT_DIR was made with", with_force=True)
    add_selection_options(parser)
    group = parser.add_argument_group("participant level")
    add_input_options(group)
    group.add_argument(
        "--baseline", choices=("explicit", "implicit"),
        help="fixation as a regressor, as in the paper, or as what is left over (default: the "
        "configuration's)",
    )  # fmt: skip
    group.add_argument(
        "-w", "--work-dir", type=Path, metavar="DIR",
        help="intermediate files; a run started again goes on from them (default: OUT_DIR/.work)",
    )  # fmt: skip
    group.add_argument(
        "--keep-work", action="store_true",
        help="keep all intermediate files (default: the large ones are removed as soon as no step "
        "needs them); other settings can then be tried without doing every step again",
    )  # fmt: skip
    group.add_argument(
        "--dry-run", action="store_true",
        help="list subjects, runs, steps with the time and disk they need, and what is wrong or "
        "missing; run nothing",
    )  # fmt: skip
    add_run_betas_options(group)
    add_engine_options(parser)
    add_program_options(parser)
    add_resource_options(parser)
    add_comparison_options(parser)
    add_network_options(parser)
    parser.set_defaults(function=run)


def run(args: argparse.Namespace) -> int:
    """Run one level."""
    return _run_participant(args) if args.level == "participant" else _run_group(args)


def _run_participant(args: argparse.Namespace) -> int:
    from conceptrsa.pipelines.cli.dataset_option import participant_config
    from conceptrsa.pipelines.dry_run import report_dry_run
    from conceptrsa.pipelines.participants import run_participants

    require_fitting(args)
    force_given = args.force_dataset_config and not (args.baseline or args.pooling)
    config = participant_config(args.dataset_config, args.out_dir, force_given)
    unused = [what for what in args.ignore if what in IGNORED_BY_FMRIPREP]
    if unused:
        log.warning("--ignore %s has no effect: that is not used in any case", " ".join(unused))
    options = participant_options(
        args,
        participant_labels=args.participant_label,
        session_labels=args.session_label,
        filter_file=args.bids_filter_file,
        derivatives_dir=args.derivatives,
        ignore=[what for what in args.ignore if what not in unused],
        validate=not args.skip_bids_validation,
        work_dir=args.work_dir,
        keep_work=args.keep_work,
        command_words=("conceptrsa", *args.words),
        stimuli_dir=args.stimuli,
        task=args.task_id,
        baseline=args.baseline,
        force_config=args.force_dataset_config,
        runs_per_partition=runs_per_partition(args),
    )
    if args.dry_run:
        return report_dry_run(args.bids_dir, args.out_dir, config, options)
    return run_participants(args.bids_dir, args.out_dir, config, options)


def participant_options(args: argparse.Namespace, **others: Any) -> ParticipantOptions:
    """Make `ParticipantOptions` of the options that several commands share, and others."""
    plugin = read_plugin(args.plugin, args.use_plugin)
    n_procs = plugin.n_procs or args.nprocs
    if plugin.slurm is not None:
        require_slurm()
    elif args.omp_nthreads is not None and args.omp_nthreads > n_procs:
        raise InputError(
            f"--omp-nthreads {args.omp_nthreads} is more than the {n_procs} processes at once of "
            "--nprocs or --plugin; give no more for one step than for all"
        )
    return ParticipantOptions(
        engine=args.engine,
        normalization=args.normalization,
        spm_command=args.spm_command,
        spm_time_limit=args.spm_time_limit,
        run_model=args.run_model or "concatenated",
        fs_subjects_dir=args.fs_subjects_dir,
        fs_license_file=args.fs_license_file,
        fs_registration=args.fs_registration or "header",
        fs_missing=args.fs_missing or "excluded",
        fs_time_limit=args.fs_time_limit,
        roi_source=args.roi_source,
        pooling=args.pooling,
        t1w_mask=args.t1w_mask,
        n_procs=n_procs,
        n_threads=args.omp_nthreads,
        memory_mb=args.mem_mb if plugin.memory_gb is None else round(1000 * plugin.memory_gb),
        slurm=plugin.slurm,
        **others,
    )


def _run_group(args: argparse.Namespace) -> int:
    from conceptrsa.analysis.betas.read import read_betas
    from conceptrsa.pipelines.cli.dataset_option import comparison_config
    from conceptrsa.pipelines.cli.networks import require_models
    from conceptrsa.pipelines.cli.run_comparison import compare_with_models, comparison_settings
    from conceptrsa.pipelines.execution.output_folders import Input, require_separate
    from conceptrsa.pipelines.execution.run_lock import only_run

    for option in OF_PARTICIPANT_LEVEL:
        if getattr(args, option):
            raise InputError(
                f"--{option.replace('_', '-')} is of the participant level; leave it out for group"
            )
    config, notes = comparison_config(args, args.out_dir)
    if args.stimuli is None and args.features is None:
        args.stimuli = args.bids_dir / "stimuli"
    inputs = [
        Input("BIDS_DIR", args.bids_dir, "data set"),
        Input("--features", args.features, "files"),
        Input("--stimuli", args.stimuli, "files"),
    ]
    require_separate(args.out_dir, inputs, part="group")
    require_models(args, config.stimuli if config else None)
    of_subjects = {folder.name for folder in args.out_dir.glob("sub-*") if folder.is_dir()}
    with only_run([args.out_dir], of_subjects):
        patterns = read_betas(
            args.out_dir,
            config.rois if config else None,
            betas_format="derivatives",
            participants=args.participant_label,
            task=args.task_id,
            with_runs=comparison_settings(args).needs_runs,
        )
        return compare_with_models(patterns, config, args, args.out_dir, notes=notes)
