"""The comparison of brains with models, from patterns and features to tables and figures."""

import hashlib
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from analysis.cautions import cautions
from analysis.ceiling_null import ceiling_p_value
from analysis.ceiling_sweep import MIN_VOXELS, CeilingSweep, sweep_ceiling
from analysis.figures.write import write_figures
from analysis.models.feature_files import Features
from analysis.noise_ceiling import noise_ceiling
from analysis.patterns import SubjectPatterns, require_comparable
from analysis.provenance import write_provenance
from analysis.rdm import compute_rdm, unit_patterns
from analysis.results import ComparisonResult, Model, RoiResult
from analysis.rsa import correlate_rdms
from analysis.settings import ComparisonSettings
from analysis.significance import compare_groups, compare_models_with_reference
from analysis.tables import write_tables
from analysis.voxel_selection import SelectedVoxels, select_voxels
from bids_config.errors import InputError

PAPER_REFERENCE = "ResNet50"

Progress = Callable[[str], None]


def compare(
    patterns: Sequence[SubjectPatterns],
    features: Sequence[Features],
    settings: ComparisonSettings | None = None,
    progress: Progress = lambda step: None,
) -> ComparisonResult:
    """Compare the patterns of every subject and region with every model.

    Runs on one thread, so that the numbers do not depend on how many there are.

    Parameters
    ----------
    patterns : sequence of SubjectPatterns
        At least two subjects with the same stimuli and regions.
    features : sequence of Features
        One per model, with every stimulus of the patterns; further stimuli are ignored.
    settings : ComparisonSettings, optional
    progress : callable, optional
        Told of each step before it begins.

    Raises
    ------
    InputError
        On subjects that cannot be compared, a stimulus without features, a constant pattern,
        models of one name, or a reference model that is not there.
    """
    settings = settings or ComparisonSettings()
    require_comparable(patterns)
    stimuli = patterns[0].stimuli
    model_names = _model_names(features)
    reference = _reference_model(features, settings.reference_model)

    with threadpool_limits(limits=1):
        progress("model RDMs")
        model_rdms = np.stack([_model_rdm(model, stimuli, settings) for model in features])
        selected = [select_voxels(subject, settings) for subject in patterns]
        rois = []
        sweeps = []
        for roi in patterns[0].rois:
            progress(f"RSA in {roi}")
            rois.append(_compare_roi(roi, patterns, selected, model_rdms, settings))
        for roi in patterns[0].rois:
            progress(f"noise ceiling sweep in {roi}")
            sweeps.append(_sweep_roi(roi, patterns, settings))

    progress("statistics")
    raw = {roi.roi: roi.rsa for roi in rois}
    normalised = {roi.roi: roi.rsa_normalised for roi in rois}
    groups = [model.group for model in features]
    model_tests = (
        *compare_models_with_reference(normalised, model_names, reference, "rsa_normalised"),
        *compare_models_with_reference(raw, model_names, reference, "rsa"),
    )
    group_tests = (
        *compare_groups(normalised, groups, "rsa_normalised"),
        *compare_groups(raw, groups, "rsa"),
    )
    labels = tuple(subject.label for subject in patterns)
    return ComparisonResult(
        settings=settings,
        subjects=labels,
        stimuli=stimuli,
        models=tuple(
            Model(
                model.model,
                model.group,
                model.note,
                _features_hash(model),
                dict(model.weights_sha256),
            )
            for model in features
        ),
        reference_model=reference,
        model_rdms=model_rdms,
        rois=tuple(rois),
        sweeps=tuple(sweeps),
        model_tests=model_tests,
        group_tests=group_tests,
        warnings=(
            *(note for subject in patterns for note in subject.notes),
            *(warning for selection in selected for warning in selection.warnings),
            *_note_on_reference(reference, settings),
            *cautions(settings, labels, rois, model_tests, group_tests),
        ),
        sources=tuple(dict.fromkeys(file for subject in patterns for file in subject.sources)),
    )


def write_comparison(
    result: ComparisonResult, out_dir: Path, further_settings: Mapping[str, Any] | None = None
) -> None:
    """Write the tables, figures and provenance of a comparison to `out_dir`/group.

    The same result gives the same bytes. The provenance is written last: where it is, all is.

    Parameters
    ----------
    result : ComparisonResult
    out_dir : Path
    further_settings : mapping, optional
        What the betas and features were made with, as JSON can hold it; for the provenance.
    """
    group_dir = Path(out_dir) / "group"
    provenance_file = group_dir / "provenance.json"
    provenance_file.unlink(missing_ok=True)
    write_tables(result, group_dir)
    write_figures(result, group_dir / "figures")
    write_provenance(result, provenance_file, further_settings)


def _compare_roi(
    roi: str,
    patterns: Sequence[SubjectPatterns],
    selected: Sequence[SelectedVoxels],
    model_rdms: NDArray[np.float64],
    settings: ComparisonSettings,
) -> RoiResult:
    rdms = np.stack(
        [
            _brain_rdm(subject, roi, selection.columns[roi], settings)
            for subject, selection in zip(patterns, selected, strict=True)
        ]
    )
    generator = np.random.default_rng([settings.seed, zlib.crc32(roi.encode()), 1])
    return RoiResult(
        roi=roi,
        n_voxels=np.array([len(selection.columns[roi]) for selection in selected]),
        rdms=rdms,
        rsa=correlate_rdms(rdms, model_rdms, settings.rsa_metric),
        ceiling=noise_ceiling(rdms, settings.rsa_metric),
        ceiling_p=ceiling_p_value(rdms, settings.rsa_metric, generator),
    )


def _brain_rdm(
    subject: SubjectPatterns,
    roi: str,
    columns: NDArray[np.intp],
    settings: ComparisonSettings,
) -> NDArray[np.float64]:
    """RDM of the selected voxels; NaN where fewer than three were selected."""
    n_stimuli = len(subject.stimuli)
    if len(columns) < MIN_VOXELS:
        return np.full(n_stimuli * (n_stimuli - 1) // 2, np.nan)
    values = subject.rois[roi].values[:, columns]
    shapeless = _without_direction(values, settings)
    if shapeless is not None:
        raise InputError(
            f"the beta of stimulus {subject.stimuli[shapeless]} of {subject.label} in "
            f"{subject.origin} is the same in every voxel of {roi}, so it has no pattern: "
            "estimate it again, or leave that stimulus out of every subject"
        )
    return compute_rdm(values, settings.rdm_metric)


def _model_rdm(
    model: Features, stimuli: Sequence[str], settings: ComparisonSettings
) -> NDArray[np.float64]:
    rows = {stimulus: row for row, stimulus in enumerate(model.stimuli)}
    for stimulus in stimuli:
        if stimulus not in rows:
            raise InputError(
                f"stimulus {stimulus} of the betas has no features of {model.model}: add its "
                "picture to the stimuli, or its row to the features"
            )
    values = np.asarray(model.values, dtype=np.float64)[[rows[stimulus] for stimulus in stimuli]]
    shapeless = _without_direction(values, settings)
    if shapeless is not None:
        raise InputError(
            f"the features of {model.model} for stimulus {stimuli[shapeless]} are not finite or "
            "all the same, so it has no distance to others: extract them again"
        )
    return compute_rdm(values, settings.rdm_metric)


def _without_direction(values: NDArray[np.float64], settings: ComparisonSettings) -> int | None:
    """Row of the first pattern that a distance cannot be taken from, if any."""
    rows = np.flatnonzero(np.isnan(unit_patterns(values, settings.rdm_metric)).any(axis=1))
    return int(rows[0]) if len(rows) else None


def _sweep_roi(
    roi: str, patterns: Sequence[SubjectPatterns], settings: ComparisonSettings
) -> CeilingSweep:
    return sweep_ceiling(roi, [subject.rois[roi].values for subject in patterns], settings)


def _model_names(features: Sequence[Features]) -> list[str]:
    if not features:
        raise InputError("there is no model to compare with: name at least one")
    names = [model.model for model in features]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"model {name} is given more than once: give each its own name")
    return names


def _reference_model(features: Sequence[Features], wanted: str | None) -> str:
    names = [model.model for model in features]
    if wanted is not None:
        if wanted not in names:
            raise InputError(
                f"the reference model {wanted} is not among the models: choose one of "
                f"{', '.join(names)}"
            )
        return wanted
    if PAPER_REFERENCE in names:
        return PAPER_REFERENCE
    visual = [model.model for model in features if model.group == "visual"]
    return (visual or names)[0]


def _note_on_reference(reference: str, settings: ComparisonSettings) -> tuple[str, ...]:
    if settings.reference_model is not None or reference == PAPER_REFERENCE:
        return ()
    return (
        f"{PAPER_REFERENCE}, the paper's reference model, is not among the models: every other "
        f"model is tested against {reference}",
    )


def _features_hash(features: Features) -> str:
    digest = hashlib.sha256("\n".join(features.stimuli).encode())
    digest.update(np.ascontiguousarray(features.values, dtype="<f8").tobytes())
    return digest.hexdigest()
