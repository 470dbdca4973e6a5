"""Steps that `run ... group` and `compare` share: models, settings, results."""

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
from conceptrsa.analysis.files.stimuli import StimulusPictures, find_stimulus_pictures
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
"""Number of notes printed at the end of a run; the report has all."""

NEEDED = {
    "n_permutations": ("preset", ("recommended",)),
    "n_voxels": ("voxel_selection", ("top-n", "threshold", "random")),
    "skip_zeros": ("voxel_selection", ("top-n", "best-n")),
}
"""Options that need certain choices of another option: that option, and those choices."""


def compare_with_models(
    subjects: Subjects,
    config: DatasetConfig | ComparisonConfig | None,
    options: ComparisonOptions,
    out_dir: Path,
    rois: Sequence[AnyRegion | RegionChoice] | None = None,
    notes: Sequence[str] = (),
    study: str = "",
) -> int:
    """Get the features that options ask for, compare, write, and print where results are.

    Parameters
    ----------
    subjects : sequence of SubjectPatterns or of SubjectRdms
        Patterns or RDMs of the brain.
    config : DatasetConfig or ComparisonConfig, optional
        Stimulus labels and prompt.
    options : ComparisonOptions
    out_dir : Path
        Folder in which `group` is made.
    rois : sequence of RoiDefinition, Region or RegionChoice, optional
        Regions in place of the configuration's.
    notes : sequence of str
        Notes from reading the betas.
    study : str
        Name of the study in the report, if no configuration gives one.

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
        print("when all parts are done, run the same command without --part")
        return 0
    with only_run([out_dir], ["group"]):
        remove_leftovers(out_dir / "group")
        features, on_labels = _get_features(subjects, stimuli, options, settings)
        notes = (*notes, *further_notes, *on_labels)
        stimulus_pictures = find_stimulus_pictures(options.stimuli, stimuli.labels_file)
        compare_and_write(
            subjects,
            features,
            settings,
            used,
            out_dir,
            notes,
            stimulus_pictures,
            options.check_paper,
        )
    if options.features is None and not options.networks.models:
        print("next: 'conceptrsa models' lists more networks; --models NAME ... compares them")
    return 0


def read_part(text: str) -> Part:
    """Read which part of the regions to compute.

    Raises
    ------
    InputError
        Unless the text is K/N, with whole numbers and K from 1 to N.
    """
    number, _, n_parts = text.partition("/")
    if number.isdecimal() and n_parts.isdecimal() and 1 <= int(number) <= int(n_parts):
        return Part(int(number), int(n_parts))
    raise InputError(f"--part {text} is not a part: give K/N, such as 1/8, 2/8 to 8/8")


def settle(
    options: ComparisonOptions, subjects: Subjects
) -> tuple[ComparisonSettings, tuple[str, ...]]:
    """Adapt the settings to what the data allow, with a note on each change.

    Raises
    ------
    InputError
        If the data or other options make a given option meaningless.
    """
    settings, chosen = options.settings, options.chosen
    if not have_patterns(subjects):
        if options.check_paper:
            raise InputError(
                f"--check-paper needs voxels, but {subjects[0].origin} holds RDMs: leave it out"
            )
        for option in OF_VOXELS:
            if chosen.get(option):
                raise InputError(
                    f"--{option.replace('_', '-')} needs voxels, but {subjects[0].origin} holds "
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
        raise InputError("--check-paper needs --preset paper: give both, or leave it out")
    for option, (other, choices) in NEEDED.items():
        chosen = getattr(settings, other)
        if option in options.chosen and chosen not in choices:
            said, name = (f"--{text.replace('_', '-')}" for text in (option, other))
            raise InputError(
                f"{said} has no effect with {name} {chosen}: leave it out, or choose {name} "
                f"{' or '.join(choices)}"
            )
    if (
        options.features is not None
        and options.stimuli is not None
        and not options.stimuli.is_dir()
    ):
        raise InputError(
            f"--stimuli {options.stimuli} is not a folder: correct it, or leave it out, as "
            "--features needs no pictures"
        )


def compare_and_write(
    subjects: Subjects,
    features: Sequence[Features | ModelRdm],
    settings: ComparisonSettings,
    used: Mapping[str, Any],
    out_dir: Path,
    notes: Sequence[str] = (),
    stimulus_pictures: StimulusPictures | None = None,
    check_paper: bool = False,
) -> ComparisonResult:
    """Compare, write tables and figures to `out_dir`/group, and print notes and the answer."""
    group_dir = out_dir / "group"
    result = compare(subjects, features, settings, log.info, work_dir=group_dir)
    result = replace(result, warnings=(*notes, *result.warnings))
    published = out_dir / "group" / PUBLISHED_CHECK
    published.unlink(missing_ok=True)
    if check_paper:
        _check_paper(result, subjects, published)
    write_comparison(result, out_dir, {"dataset_config": used}, stimulus_pictures)
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
    """Compare a result on the paper's betas with the published numbers, and say how many agree."""
    assert have_patterns(subjects)
    table = check_result(result, subjects)
    write_table(table, file)
    held = table["agrees"].dropna()
    unknown = len(table) - len(held)
    print(
        f"published numbers: {held.sum()} of {len(held)} agree, {unknown} could not be compared: "
        f"{file}"
    )


def used_configuration(
    config: DatasetConfig | ComparisonConfig | None,
    rois: Sequence[AnyRegion | RegionChoice] | None = None,
    stimuli: StimuliConfig | None = None,
    study: str = "",
) -> dict[str, Any]:
    """Give the part of the configuration that is used, in a form that JSON can hold.

    Runs, events and the linear model belong to the participant level, which may have used another
    configuration; only the betas' sidecars tell how they were made.
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
    """Give a region's name with its labels or mask, or with the words that chose it."""
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
    """Give features, and a note on models without any."""
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
        raise InputError("no stimuli: give --stimuli DIR with the pictures, or --features DIR")
    shown = set(stimulus_sets(subjects, settings).union)
    stimuli = read_labelled_stimuli(options.stimuli, stimuli_config)
    missing = sorted(shown - {stimulus.id for stimulus in stimuli})
    if missing:
        seen_by = next(one.label for one in subjects if missing[0] in one.stimuli)
        raise InputError(
            f"{options.stimuli} has no picture of {some_of(missing)}, which {seen_by} saw: add "
            f"{missing[0]}.png (or another picture format)"
            f"{spelt_otherwise(missing[0], [stimulus.id for stimulus in stimuli])}"
        )
    stimuli = tuple(stimulus for stimulus in stimuli if stimulus.id in shown)
    networks, notes = network_run(options.networks, stimuli_config).without_labels(stimuli)
    return list(networks.features(stimuli)), notes
