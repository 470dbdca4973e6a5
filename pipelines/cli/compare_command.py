"""`conceptrsa compare`: the comparison on betas from anywhere."""

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
        help="the comparison on supplied betas",
        description="The comparison on supplied betas: a derivatives folder of this tool, the "
        "paper's published betas, SPM folders, statistical maps of fitlins or nilearn, "
        "single-trial betas of GLMsingle, NSD or THINGS-fMRI, a table of files, patterns of "
        "regions, or brain RDMs. docs/supplied_data.md shows each.",
    )
    group = parser.add_argument_group("supplied data")
    group.add_argument(
        "--betas", type=Path, required=True, metavar="PATH",
        help="the folder that holds sub-*, or a table",
    )  # fmt: skip
    group.add_argument(
        "--betas-format", choices=BETAS_FORMATS,
        help="what PATH holds (default: found from its content)",
    )  # fmt: skip
    group.add_argument(
        "--atlas", metavar="NAME_OR_FILE",
        help="an atlas by name ('conceptrsa atlases' lists them), or a label volume or 4D maps of "
        "probabilities in the space of the betas, in any grid; {subject} in its name stands for "
        "the subject's label, where each has an own; not needed for this tool's derivatives, "
        "masks, patterns of regions and RDMs",
    )  # fmt: skip
    group.add_argument(
        "--atlas-labels", type=Path, metavar="FILE",
        help="the atlas' label table: BIDS dseg.tsv, FreeSurfer's LUT, TSV or CSV (default: the "
        "one beside the atlas, of the same name)",
    )  # fmt: skip
    group.add_argument(
        "--atlas-threshold", type=float, metavar="SHARE",
        help="of maps of probabilities, as atlas or mask: a region is where they are this or more "
        "(0 to 1, default: 0.25)",
    )  # fmt: skip
    group.add_argument(
        "--conditions", nargs="+", default=(), metavar="PATTERN",
        help="of SPM folders, maps and single trials: conditions that are stimuli, * and ? allowed "
        "(default: all with features or a picture)",
    )  # fmt: skip
    group.add_argument(
        "--exclude-conditions", nargs="+", default=(), metavar="PATTERN",
        help="conditions that are no stimuli",
    )  # fmt: skip
    add_rois_option(
        group, "the configuration's, or with --atlas every label of its table", is_comparison=True
    )
    add_ignore_option(group, ("orientation", "space"))
    trials = parser.add_argument_group("single trials, of GLMsingle, NSD, THINGS-fMRI and tables")
    trials.add_argument(
        "--trials", type=Path, metavar="FILE",
        help="of GLMsingle: table (TSV, CSV) with the column stimulus and a row a trial, or a row "
        "a condition numbered in the column condition; {subject} in its name stands for the "
        "subject's label; of NSD: nsd_expdesign.mat, where it is not in its place",
    )  # fmt: skip
    trials.add_argument(
        "--min-repeats", type=whole_number(1), metavar="N",
        help="take of each subject the stimuli that were presented to it N times or more "
        "(default: 2, where half of every subject's stimuli were, so that all have an odd and an "
        "even half; of NSD and THINGS-fMRI, where any three were); --subject-stimuli says whether "
        "those that all subjects share are compared, or each subject's own",
    )  # fmt: skip
    trials.add_argument(
        "--zscore-sessions", action=argparse.BooleanOptionalAction,
        help="z-score each voxel over the trials of each session (default: yes for NSD and "
        "THINGS-fMRI, no for others)",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, required=True, metavar="OUT_DIR", help="results go to OUT_DIR/group"
    )
    add_options(parser, ParticipantOptions, "selection")
    add_options(parser.add_argument_group("resources"), ParticipantOptions, "resources")
    add_dataset_options(parser, "the one that the betas carry", with_force=True)
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
        notes = (*notes, "the regions are those of --rois, not of the data set configuration")
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
    """Stimuli that have features or a picture, which conditions are matched with."""
    from conceptrsa.analysis.files.stimuli import find_pictures
    from conceptrsa.analysis.models.feature_files import read_features

    if options.features is not None:
        return sorted({name for model in read_features(options.features) for name in model.stimuli})
    if options.stimuli is not None:
        return sorted(find_pictures(options.stimuli))
    return None
