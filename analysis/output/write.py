"""The files of a comparison: tables, figures, report and where the numbers come from."""

import hashlib
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from conceptrsa.analysis.files.stimuli import StimulusPictures
from conceptrsa.analysis.output.figures.all_figures import write_figures
from conceptrsa.analysis.output.figures.style import is_hemisphere
from conceptrsa.analysis.output.region_volumes import write_best_model_volumes, write_region_volumes
from conceptrsa.analysis.output.report.comparison_page import REPORT, write_report
from conceptrsa.analysis.output.tables import write_tables
from conceptrsa.analysis.results import ComparisonResult
from conceptrsa.analysis.settings import OF_VOXELS, settings_for
from conceptrsa.bids_config.writing import write_text

PACKAGES = (
    "conceptrsa",
    "matplotlib",
    "h5py",
    "nibabel",
    "numba",
    "numpy",
    "pandas",
    "pillow",
    "scipy",
    "threadpoolctl",
    "open-clip-torch",
    "timm",
    "torch",
    "torchvision",
    "transformers",
)


def write_comparison(
    result: ComparisonResult,
    out_dir: Path,
    further_settings: Mapping[str, Any] | None = None,
    stimulus_pictures: StimulusPictures | None = None,
) -> None:
    """Write tables, figures, report and provenance of a comparison to `out_dir`/group.

    The same result gives the same bytes. The provenance is written last: where it is, all is.

    Parameters
    ----------
    result : ComparisonResult
    out_dir : Path
    further_settings : mapping, optional
        What the betas and features were made with, as JSON can hold it; for the provenance.
    stimulus_pictures : StimulusPictures, optional
        Pictures and labels of the stimuli, for the report.
    """
    group_dir = Path(out_dir) / "group"
    provenance_file = group_dir / "provenance.json"
    for file in (provenance_file, group_dir / REPORT):
        file.unlink(missing_ok=True)
    write_tables(result, group_dir)
    names = [roi.roi for roi in result.rois]
    by_kind = {
        "regions": [name for name in names if not is_hemisphere(name, names)],
        "hemispheres": [name for name in names if is_hemisphere(name, names)],
    }
    write_region_volumes(result.region_map, by_kind, group_dir)
    write_best_model_volumes(result, by_kind["regions"] or names, group_dir)
    write_figures(result, group_dir / "figures")
    provenance = provenance_of(result, further_settings)
    write_report(result, group_dir, provenance, stimulus_pictures)
    write_provenance(provenance, provenance_file)


def provenance_of(
    result: ComparisonResult, further_settings: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Say what a comparison was made from; without a time, so that reruns give the same bytes."""
    return {
        "versions": {"python": platform.python_version()} | _package_versions(),
        "settings": _settings_in_use(result),
        "further_settings": dict(further_settings or {}),
        "seed": result.settings.seed,
        "reference_model": result.reference_model,
        "subjects": list(result.subjects),
        "stimuli": list(result.stimuli),
        "own_stimuli": _own_stimuli(result),
        "estimation": result.estimation,
        "models": [asdict(model) for model in result.models],
        "inputs_sha256": _file_hashes(result.sources),
        "warnings": list(result.warnings),
    }


def _settings_in_use(result: ComparisonResult) -> dict[str, Any]:
    """Name the preset, what differs from it, and every setting that has a meaning here."""
    settings = result.settings
    without: set[str] = set()
    if result.primary.supplied:
        without |= {*OF_VOXELS, "sweep_dense_until", "sweep_log_points"}
    analyses = (result.primary, *result.variants)
    selections = {analysis.settings.voxel_selection for analysis in analyses}
    selections |= {row.voxel_selection for row in result.multiverse}
    if result.primary.supplied or "threshold" not in selections:
        without.add("threshold_roi")
    if settings.preset != "paper" and settings.groups == "paper":
        # Groups are as the models have them: nothing of the paper is in it.
        without.add("groups")
    preset = settings_for(settings.preset)
    in_use = {name: value for name, value in asdict(settings).items() if name not in without}
    changed = [name for name, value in in_use.items() if value != getattr(preset, name)]
    described = f"{settings.preset}, changed: {', '.join(changed)}" if changed else settings.preset
    return in_use | {"preset": described}


def _own_stimuli(result: ComparisonResult) -> dict[str, dict[str, Any]]:
    """Number of stimuli that each subject is scored on, and a hash of their names."""
    if result.sets.all_common:
        return {}
    return {
        subject: {
            "number": len(stimuli),
            "sha256": hashlib.sha256("\n".join(stimuli).encode()).hexdigest(),
        }
        for subject, stimuli in zip(result.subjects, result.sets.of_subjects, strict=True)
    }


def write_provenance(provenance: Mapping[str, Any], file: Path) -> None:
    """Write what `provenance_of` says, as JSON."""
    write_text(file, json.dumps(provenance, indent=2, ensure_ascii=False) + "\n")


def _package_versions() -> dict[str, str]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "n/a"
    return versions


def _file_hashes(files: Sequence[Path]) -> dict[str, str]:
    """SHA-256 by path, relative to the folder that all files lie under."""
    if not files:
        return {}
    paths = [file.absolute() for file in files]
    root = Path(os.path.commonpath([path.parent for path in paths]))
    return {path.relative_to(root).as_posix(): _sha256(path) for path in sorted(paths)}


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
