"""`conceptrsa compare`: networks against supplied betas."""

import argparse
from pathlib import Path
from typing import Any

from conceptrsa.bids_config.machine import limited_to
from conceptrsa.pipelines.cli.comparison_options import (
    ComparisonOptions,
    add_comparison_options,
    read_comparison_options,
    share_given,
)
from conceptrsa.pipelines.cli.data_options import (
    add_dataset_options,
    add_ignore_option,
    add_rois_option,
    comparison_config,
)
from conceptrsa.pipelines.cli.parser import add_options, whole_number
from conceptrsa.pipelines.participant_options import ParticipantOptions

BETAS_FORMATS = (
    "table", "derivatives", "nsd", "glmsingle", "things", "spm", "statmaps", "paper",
    "roi-patterns", "roi-tables", "rdms", "maps",
)  # fmt: skip


def add_parser(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "compare",
        help="compare networks with supplied betas, region patterns or RDMs",
        description="Compares networks with supplied betas: conceptrsa derivatives, SPM folders, "
        "maps of nilearn or fitlins, single trials of GLMsingle, NSD or THINGS-fMRI, a table of "
        "files, region patterns, brain RDMs, or the paper's published betas. docs/supplied_data.md "
        "shows each.",
        everyday=(
            "--betas-format",
            "--atlas",
            "--rois",
            "--trials",
            "--stimuli",
            "--features",
            "--models",
            "--participant-label",
            "--preset",
            "--rdm-metric",
            "--rsa-metric",
            "--nprocs",
        ),
        examples=(
            "conceptrsa compare --betas derivatives/fitlins --atlas destrieux \\\n"
            "    --stimuli stimuli --out results",
            "conceptrsa compare --betas glmsingle --trials trials.tsv --atlas atlas.nii.gz \\\n"
            "    --rois V1=1,2 LO=7,8 --features features --out results",
            "conceptrsa compare --betas rdms --stimuli stimuli --models CLIP "
            "timm:vit_base_patch16_224 \\\n    --out results",
        ),
    )
    group = parser.add_argument_group("supplied data")
    group.add_argument(
        "--betas", type=Path, required=True, metavar="PATH",
        help="read this folder of sub-*, or this table",
    )  # fmt: skip
    group.add_argument(
        "--betas-format", choices=BETAS_FORMATS,
        help="read PATH as this form (default: recognised from its content)",
    )  # fmt: skip
    group.add_argument(
        "--atlas", metavar="NAME_OR_FILE",
        help="take regions from this atlas: a name that 'conceptrsa atlases' lists, or a label "
        "volume or 4D probability maps in the space of the betas, in any grid. {subject} in a file "
        "name stands for the subject's label. conceptrsa derivatives, masks, region patterns and "
        "RDMs need no atlas",
    )  # fmt: skip
    group.add_argument(
        "--atlas-labels", type=Path, metavar="FILE",
        help="read the atlas' labels from this table: BIDS dseg.tsv, FreeSurfer LUT, TSV or CSV "
        "(default: the file of the same name beside the atlas)",
    )  # fmt: skip
    group.add_argument(
        "--atlas-threshold", type=float, metavar="SHARE",
        help="with probability maps: take voxels with at least this probability, 0 to 1 "
        "(default: 0.25)",
    )  # fmt: skip
    group.add_argument(
        "--conditions", nargs="+", default=(), metavar="PATTERN",
        help="in SPM folders, maps and single trials: use these conditions as stimuli; * and ? "
        "match any text (default: all that have features or a picture)",
    )  # fmt: skip
    group.add_argument(
        "--exclude-conditions", nargs="+", default=(), metavar="PATTERN",
        help="exclude these conditions; * and ? match any text",
    )  # fmt: skip
    add_rois_option(
        group, "the configuration's; with --atlas, every label of its table", is_comparison=True
    )
    add_ignore_option(group, ("orientation", "space"))
    trials = parser.add_argument_group("single trials: GLMsingle, NSD, THINGS-fMRI, tables")
    trials.add_argument(
        "--trials", type=Path, metavar="FILE",
        help="for GLMsingle: read stimuli from this table (TSV, CSV), with a column stimulus and a "
        "row per trial, or a row per condition numbered in a column condition; {subject} in its "
        "name stands for the subject's label. For NSD: nsd_expdesign.mat, if it is elsewhere",
    )  # fmt: skip
    trials.add_argument(
        "--min-repeats", type=whole_number(1), metavar="N",
        help="use stimuli that a subject saw N times or more (default: 2 if half of every "
        "subject's stimuli were repeated, or any three in NSD and THINGS-fMRI; else 1). "
        "--subject-stimuli chooses between shared stimuli and each subject's own",
    )  # fmt: skip
    trials.add_argument(
        "--zscore-sessions", action=argparse.BooleanOptionalAction,
        help="z-score each voxel over the trials of each session (default: yes for NSD and "
        "THINGS-fMRI, no otherwise)",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, required=True, metavar="OUT_DIR", help="write results to OUT_DIR/group"
    )
    add_options(parser, ParticipantOptions, "selection")
    add_options(parser.add_argument_group("resources"), ParticipantOptions, "resources")
    add_dataset_options(parser, "the one recorded with the betas, if any", with_force=True)
    add_comparison_options(parser)
    parser.set_defaults(function=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from conceptrsa.analysis.betas.named_atlases import find_atlas
    from conceptrsa.analysis.betas.read import (
        find_format,
        find_regions,
        note_on_forms,
        read_betas,
    )
    from conceptrsa.pipelines.cli.network_choice import require_models
    from conceptrsa.pipelines.cli.run_comparison import compare_with_models
    from conceptrsa.pipelines.execution.output_folders import Input, require_separate

    # Regions of another atlas are given with it, and are others.
    of_options = ["rois"] if args.rois or args.atlas else []
    config, notes = comparison_config(
        args.dataset_config, args.force_dataset_config, args.betas, of_options
    )
    options = read_comparison_options(args)
    settings = options.settings
    form = find_format(args.betas, args.betas_format)
    others = None if args.betas_format else note_on_forms(args.betas, form)
    notes = (*notes, *([others] if others else []))
    atlas = find_atlas(args.atlas, args.atlas_labels) if args.atlas else None
    file, labels = (atlas.file, atlas.labels) if atlas else (None, args.atlas_labels)
    notes = (*notes, *([atlas.citation] if atlas and atlas.citation else []))
    require_separate(
        args.out,
        [
            # Into derivatives of this tool `run ... group` writes as well.
            *([] if form.name == "derivatives" else [Input("--betas", args.betas, "betas")]),
            Input("--features", options.features, "files"),
            Input("--stimuli", options.stimuli, "files"),
        ],
        "--out",
        part="group",
    )
    # Those of a configuration that the betas carry belong to their own atlas.
    of_config = config is not None and bool(args.dataset_config or args.atlas is None)
    given = args.rois or (config.rois if config is not None and of_config else None) or None
    rois = find_regions(args.betas, form, given, file, labels)
    if config is not None and args.rois:
        notes = (*notes, "regions are those of --rois, not those of the data set configuration")
    require_models(options, config.stimuli if config else None)
    subjects = read_betas(
        args.betas,
        rois,
        atlas=file,
        atlas_labels=labels,
        atlas_threshold=args.atlas_threshold,
        betas_format=form.name,
        participants=args.participant_labels,
        task=args.task,
        with_runs=settings.needs_runs,
        stimuli=_known_stimuli(options) if "conditions" in form.options else None,
        conditions=args.conditions,
        exclude_conditions=args.exclude_conditions,
        trials=args.trials,
        min_repeats=args.min_repeats,
        zscore_sessions=args.zscore_sessions,
        ignore=args.ignore or (),
    )
    study = args.betas.resolve().stem
    with limited_to(share_given(args)):
        return compare_with_models(subjects, config, options, args.out, rois, notes, study)


def _known_stimuli(options: ComparisonOptions) -> list[str] | None:
    """List stimuli with features or a picture, to match conditions with."""
    from conceptrsa.analysis.files.stimuli import find_pictures
    from conceptrsa.analysis.models.feature_files import read_features

    if options.features is not None:
        return sorted({name for model in read_features(options.features) for name in model.stimuli})
    if options.stimuli is not None:
        return sorted(find_pictures(options.stimuli))
    return None
