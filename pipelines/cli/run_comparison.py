"""What `run ... group` and `compare` have in common: models, settings, results."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from conceptrsa.analysis.brain.folds import fitted_to
from conceptrsa.analysis.brain.patterns import Subjects, have_patterns
from conceptrsa.analysis.brain.stimulus_sets import stimulus_sets
from conceptrsa.analysis.comparison import compare, compute_part
from conceptrsa.analysis.files.stimuli import Appearance, find_appearance
from conceptrsa.analysis.finished_regions import Part
from conceptrsa.analysis.kept_findings import remove_finished
from conceptrsa.analysis.models.feature_files import Features, ModelRdm, read_features
from conceptrsa.analysis.output.published import check_result
from conceptrsa.analysis.output.report.answer import best_by_region
from conceptrsa.analysis.output.report.comparison_page import REPORT
from conceptrsa.analysis.output.tables import write_table
from conceptrsa.analysis.output.write import write_comparison
from conceptrsa.analysis.results import ComparisonResult
from conceptrsa.analysis.settings import OF_VOXELS, ComparisonSettings
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import clean_name, did_you_mean, some_of, spelt_otherwise
from conceptrsa.bids_config.region_choice import AnyRegion, Region
from conceptrsa.bids_config.schema import (
    ComparisonConfig,
    DatasetConfig,
    RegionChoice,
    StimuliConfig,
)
from conceptrsa.bids_config.writing import remove_leftovers
from conceptrsa.pipelines.cli.comparison_options import ComparisonOptions
from conceptrsa.pipelines.cli.network_choice import network_run, read_labelled_stimuli
from conceptrsa.pipelines.execution.output_folders import require_writable
from conceptrsa.pipelines.execution.run_lock import only_run

log = logging.getLogger(__name__)

PUBLISHED_CHECK = "published_check.tsv"

MOST_NOTES = 12
"""So many are printed at the end of a run; the report has all."""

NEEDED = {
    "n_permutations": ("preset", ("recommended",)),
    "n_voxels": ("voxel_selection", ("top-n", "threshold", "random")),
    "skip_zeros": ("voxel_selection", ("top-n", "best-n")),
}
"""Options that have a meaning with some choices of another option only: that one, and these."""


def compare_with_models(
    subjects: Subjects,
    config: DatasetConfig | ComparisonConfig | None,
    options: ComparisonOptions,
    out_dir: Path,
    rois: Sequence[AnyRegion | RegionChoice] | None = None,
    notes: Sequence[str] = (),
    study: str = "",
) -> int:
    """Get the features the options ask for, compare, write, and say where.

    Parameters
    ----------
    subjects : sequence of SubjectPatterns or of SubjectRdms
        The brain's side.
    config : DatasetConfig or ComparisonConfig, optional
        Stimulus labels and prompt.
    options : ComparisonOptions
    out_dir : Path
        Where the `group` folder goes.
    rois : sequence of RoiDefinition, Region or RegionChoice, optional
        Regions in place of the configuration's.
    notes : sequence of str
        What was noticed before.
    study : str
        What the report calls the study, where no configuration does.

    Returns
    -------
    int
        Exit code.
    """
    settings, further_notes = settle(options, subjects)
    stimuli = StimuliConfig() if config is None else config.stimuli
    used = used_configuration(config, rois, stimuli, study)
    require_writable(out_dir)
    if options.part is not None:
        part = read_part(options.part)
        with only_run([out_dir], [f"group-part-{part.number}-of-{part.n_parts}"]):
            features, _ = _get_features(subjects, stimuli, options, settings)
            group_dir = out_dir / "group"
            done = compute_part(subjects, features, settings, part, group_dir, log.info)
        print(f"regions finished: {', '.join(done) or 'none'}")
        print("when all parts are done, give the same command without --part")
        return 0
    with only_run([out_dir], ["group"]):
        remove_leftovers(out_dir / "group")
        features, on_labels = _get_features(subjects, stimuli, options, settings)
        notes = (*notes, *further_notes, *on_labels)
        appearance = find_appearance(options.stimuli, stimuli.labels_file)
        compare_and_write(
            subjects, features, settings, used, out_dir, notes, appearance, options.check_paper
        )
    if options.features is None and not options.networks.models:
        print(
            "next: 'conceptrsa models' lists further networks; give the same command with --models "
            "NAME ... to compare them"
        )
    return 0


def read_part(text: str) -> Part:
    """Read which part of how many is to be computed.

    Raises
    ------
    InputError
        On anything but K/N with two whole numbers, the first from 1 to the second.
    """
    number, _, n_parts = text.partition("/")
    if number.isdecimal() and n_parts.isdecimal() and 1 <= int(number) <= int(n_parts):
        return Part(int(number), int(n_parts))
    raise InputError(f"--part {text} is none: give K/N, as in 1/8, 2/8 to 8/8")


def settle(
    options: ComparisonOptions, subjects: Subjects
) -> tuple[ComparisonSettings, tuple[str, ...]]:
    """Give the settings, fitted to what the data allow, and notes on what was fitted.

    Raises
    ------
    InputError
        If an option was given that the data or other options leave without a meaning.
    """
    settings, chosen = options.settings, options.chosen
    if not have_patterns(subjects):
        if options.check_paper:
            raise InputError(
                f"--check-paper is about voxels, and {subjects[0].origin} holds RDMs: leave it out"
            )
        for option in OF_VOXELS:
            if chosen.get(option):
                raise InputError(
                    f"--{option.replace('_', '-')} is about voxels, and {subjects[0].origin} holds "
                    "RDMs: leave it out"
                )
        settings, _ = fitted_to(settings, subjects)
        _require_meaning(options, settings)
        return settings, ()
    _require_meaning(options, settings)
    return fitted_to(settings, subjects, chosen)


def _require_meaning(options: ComparisonOptions, settings: ComparisonSettings) -> None:
    """Refuse options that would be ignored."""
    if options.check_paper and settings.preset != "paper":
        raise InputError("--check-paper is of --preset paper; give both, or leave it out")
    for option, (other, choices) in NEEDED.items():
        chosen = getattr(settings, other)
        if option in options.chosen and chosen not in choices:
            said, name = (f"--{text.replace('_', '-')}" for text in (option, other))
            raise InputError(
                f"{said} has no meaning with {name} {chosen}: leave it out, or choose {name} "
                f"{' or '.join(choices)}"
            )
    if (
        options.features is not None
        and options.stimuli is not None
        and not options.stimuli.is_dir()
    ):
        raise InputError(
            f"--stimuli {options.stimuli} is not a folder; with --features leave it out"
        )


def compare_and_write(
    subjects: Subjects,
    features: Sequence[Features | ModelRdm],
    settings: ComparisonSettings,
    used: Mapping[str, Any],
    out_dir: Path,
    notes: Sequence[str] = (),
    appearance: Appearance | None = None,
    check_paper: bool = False,
) -> ComparisonResult:
    """Compare, write tables and figures below `out_dir`/group, and say what was noticed."""
    group_dir = out_dir / "group"
    result = compare(subjects, features, settings, log.info, work_dir=group_dir)
    result = replace(result, warnings=(*notes, *result.warnings))
    published = out_dir / "group" / PUBLISHED_CHECK
    published.unlink(missing_ok=True)
    if check_paper:
        _check_paper(result, subjects, published)
    write_comparison(result, out_dir, {"dataset_config": used}, appearance)
    remove_finished(group_dir)
    for warning in result.warnings[:MOST_NOTES]:
        print(f"note: {warning}")
    n_more = len(result.warnings) - MOST_NOTES
    if n_more > 0:
        print(f"note: {n_more} more in the report")
    print(f"found: {best_by_region(result)}")
    print(f"tables and figures: {group_dir}")
    print(f"report: {group_dir / REPORT}")
    return result


def _check_paper(result: ComparisonResult, subjects: Subjects, file: Path) -> None:
    """Hold a result of the paper's betas against the published numbers, as a table and in words."""
    assert have_patterns(subjects)
    table = check_result(result, subjects)
    write_table(table, file)
    held = table["agrees"].dropna()
    unknown = len(table) - len(held)
    print(
        f"published numbers: {held.sum()} of {len(held)} agree, {unknown} could not be held "
        f"against anything: {file}"
    )


def used_configuration(
    config: DatasetConfig | ComparisonConfig | None,
    rois: Sequence[AnyRegion | RegionChoice] | None = None,
    stimuli: StimuliConfig | None = None,
    study: str = "",
) -> dict[str, Any]:
    """What of the configuration is used, as JSON can hold it.

    Runs, events and the linear model are of the participant level, which may have had others; how
    betas came about is known from their sidecars alone.
    """
    stimuli = stimuli or (config.stimuli if config else StimuliConfig())
    used = {
        "name": (config.name if config else "") or study,
        "rois": [_described(roi) for roi in rois or (config.rois if config else ())],
        "stimuli": asdict(stimuli),
    }
    plain: dict[str, Any] = json.loads(json.dumps(used, default=str))
    return plain


def _described(roi: AnyRegion | RegionChoice) -> dict[str, Any]:
    """A region's name with its labels or mask; of a choice among the betas' own, what it says."""
    if isinstance(roi, RegionChoice):
        return {"name": roi.name, "labels": roi.words}
    mask = roi.mask if isinstance(roi, Region) else None
    return {"name": roi.name, "mask": mask} if mask else {"name": roi.name, "labels": roi.labels}


def _get_features(
    subjects: Subjects,
    stimuli_config: StimuliConfig,
    options: ComparisonOptions,
    settings: ComparisonSettings,
) -> tuple[Sequence[Features | ModelRdm], tuple[str, ...]]:
    """Features, and a note on models that have none."""
    if options.features is not None:
        features = read_features(options.features)
        there = [model.model for model in features]
        wanted = list(map(clean_name, options.networks.models or there))
        unknown = sorted(set(wanted) - set(there))
        if unknown:
            close = did_you_mean(unknown[0], there) if len(unknown) == 1 else ""
            raise InputError(
                f"{options.features} has no features of {', '.join(unknown)}{close}: leave them "
                "out of --models, or add them there"
            )
        return [model for model in features if model.model in wanted], ()
    if options.stimuli is None:
        raise InputError("give --stimuli DIR with the pictures, or --features DIR")
    shown = set(stimulus_sets(subjects, settings).union)
    stimuli = read_labelled_stimuli(options.stimuli, stimuli_config)
    missing = sorted(shown - {stimulus.id for stimulus in stimuli})
    if missing:
        seen_by = next(one.label for one in subjects if missing[0] in one.stimuli)
        raise InputError(
            f"{options.stimuli} has no picture of {some_of(missing)}, which {seen_by} saw: add "
            f"{missing[0]}.png or the like"
            f"{spelt_otherwise(missing[0], [stimulus.id for stimulus in stimuli])}"
        )
    stimuli = tuple(stimulus for stimulus in stimuli if stimulus.id in shown)
    networks, notes = network_run(options.networks, stimuli_config).without_labels(stimuli)
    return list(networks.features(stimuli)), notes
