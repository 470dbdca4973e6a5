"""The page of a subject: what ran, and whether it can be trusted.

Here are the numbers and pictures; the sentences are in the template `subject.html.j2`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from conceptrsa.analysis.output.report.rendering import render_page
from conceptrsa.bids_config.spaces import Space
from conceptrsa.bids_config.writing import atomic_path
from conceptrsa.pipelines.reports.heads import Heads
from conceptrsa.pipelines.reports.run_plots import (
    acquisition_order,
    draw_design,
    draw_motion,
    draw_slice_times,
    draw_tsnr_by_run,
)
from conceptrsa.pipelines.reports.subject_records import (
    HIGH_MOTION_MM,
    RunRecord,
    SubjectRecord,
    read_subject,
)

NONE = "n/a"

SECTIONS = (
    ("warnings", "Warnings"),
    ("ran", "What ran"),
    ("motion", "Motion"),
    ("coregistration", "Coregistration"),
    ("normalization", "MNI305"),
    ("t1w", "Brain and regions"),
    ("regions", "EPI mask and coverage"),
    ("tsnr", "tSNR"),
    ("slices", "Slice timing"),
    ("design", "Linear model"),
    ("each", "Each run"),
)
OF_ANATOMY = ("coregistration", "normalization", "t1w")
"""Sections that are empty for runs in a standard space."""

NAMES_OF_SETTINGS = {
    "Version": "conceptrsa",
    "HRF": "Haemodynamic response",
    "HighPassSeconds": "High-pass filter (s)",
    "NoiseModel": "Noise model",
    "SliceTimingCorrected": "Slice timing corrected",
    "SliceTimeReference": "Slice time reference (fraction of the TR)",
    "Pooling": "Pooling of runs",
    "Normalization": "Normalization",
    "Space": "Space",
    "RegionsFrom": "Regions from",
    "MissingBetas": "Missing betas",
    "RunModel": "Model of the runs",
    "Preprocessing": "Preprocessed by",
}
"""Names of settings in the betas' sidecar; others keep the name they have there."""


def write_subject_page(
    out_dir: Path,
    subject: str,
    task: str,
    warnings: Sequence[str],
    standard_space: Space | None = None,
) -> Path:
    """Write `sub-XX.html` from the subject's derivatives, and from nothing else.

    Parameters
    ----------
    out_dir : Path
        Root of the derivatives.
    subject, task : str
        Labels without `sub-` and `task-`.
    warnings : sequence of str
        Shown at the top.
    standard_space : Space, optional
        The one that the runs are in; None where betas were taken to MNI305.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    InputError, OSError, ValueError
        When a derivative that every subject has is missing or damaged.
    """
    record = read_subject(out_dir, subject, task, standard_space)
    sections = [part for part in SECTIONS if record.has_anatomy or part[0] not in OF_ANATOMY]
    html = render_page(
        "subject.html.j2",
        package="conceptrsa.pipelines.reports",
        scripts=("tables.js", "flip.js"),
        title=f"Subject {subject}",
        subtitle=f"{record.data_set}, task {task}",
        sections=sections,
        warnings=list(warnings),
        evidence=evidence,
        **_values(record),
    )
    page = out_dir / f"sub-{subject}.html"
    with atomic_path(page) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return page


def evidence(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Single values of a step's report; lists of starts and controls stay in the file.

    Keys with a capital are BIDS' own, and say what the file is.
    """
    return [
        (name.replace("_", " "), _in_words(value))
        for name, value in report.items()
        if isinstance(value, str | int | float) and name[:1].islower()
    ]


def _values(record: SubjectRecord) -> dict[str, Any]:
    heads = Heads(record)
    tsnr = heads.summarize_tsnr()
    medians = [median for median in tsnr.medians if median is not None]
    all_have_tsnr = 1 < len(medians) == len(record.runs)
    first = next((run for run in record.runs if run.design_file is not None), None)
    design = None if first is None else first.design()
    times = {run.repetition_time for run in record.runs} - {None}
    sessions = {part for run in record.runs for part in run.name.split() if "ses-" in part[:4]}
    return {
        "record": record,
        "high_mm": f"{HIGH_MOTION_MM:g}",
        "n_sessions": len(sessions),
        "n_volumes": sum(run.n_volumes for run in record.runs),
        "n_high": sum(run.n_high_motion for run in record.runs),
        "times": ", ".join(f"{time:g}" for time in sorted(filter(None, times))),
        "settings": [
            *(
                (NAMES_OF_SETTINGS.get(name, name), _in_words(value))
                for name, value in record.estimation.items()
            ),
            *record.software.items(),
        ],
        "run_rows": [*map(_run_row, record.runs, tsnr.medians)],
        "motion": draw_motion(record.runs),
        "coregistration": heads.draw_coregistration() if record.has_anatomy else None,
        "normalization": heads.draw_normalization() if record.has_anatomy else None,
        "t1w": heads.draw_t1w(record.regions) if record.has_anatomy else None,
        "regions": heads.draw_regions(record.regions),
        "region_rows": [
            [
                region.name,
                str(region.n_voxels),
                str(region.n_covered),
                f"{region.coverage:.1%}",
                _number(tsnr.regions.get(region.name), ".1f"),
                *([_number(region.distance_mm, ".1f")] if record.has_anatomy else []),
            ]
            for region in record.regions
        ],
        "medians": [f"{median:.1f}" for median in sorted(medians)],
        "without_tsnr": [run.name for run in record.runs if run.tsnr_file is None],
        "tsnr": heads.draw_tsnr(tsnr.mean, "mean over runs", tsnr.highest),
        "tsnr_by_run": draw_tsnr_by_run(medians) if all_have_tsnr else None,
        "slice_times": _slice_times(record.runs),
        "design_of": first,
        "design_shape": None if design is None else design.shape,
        "design": None if design is None else draw_design(design, with_names=True),
        "each_run": [_of_run(run, heads, tsnr.highest) for run in record.runs],
    }


def _run_row(run: RunRecord, median_tsnr: float | None) -> list[str]:
    displacement = run.displacement[np.isfinite(run.displacement)]
    measured = len(displacement) > 0
    return [
        run.name,
        str(run.n_volumes),
        _number(run.repetition_time, "g"),
        _number(median_tsnr, ".1f"),
        _number(displacement.mean() if measured else None, ".2f"),
        _number(displacement.max() if measured else None, ".2f"),
        str(run.n_high_motion),
        f"{np.abs(run.motion[:, :3]).max():.2f}",
        f"{np.abs(run.motion[:, 3:]).max():.4f}",
    ]


def _slice_times(runs: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """One picture for the runs of the same times."""
    alike: dict[tuple[Any, ...], list[RunRecord]] = {}
    for run in runs:
        found = run.acquisition
        if times := found.get("SliceTiming"):
            key = (tuple(times), found["SliceEncodingDirection"], found["StartTime"])
            alike.setdefault(key, []).append(run)
    return [
        {
            "picture": draw_slice_times(members[0]),
            "runs": [run.name for run in members],
            "n_slices": len(times),
            "n_moments": max(acquisition_order(np.array(times))),
            "reference": f"{reference:g}",
        }
        for (times, _, reference), members in alike.items()
    ]


def _of_run(run: RunRecord, heads: Heads, highest_tsnr: float) -> dict[str, Any]:
    design = run.design()
    return {
        "run": run,
        "motion": draw_motion([run]),
        "tsnr": heads.draw_tsnr(run.tsnr(), run.name, highest_tsnr),
        "design": None if design is None else draw_design(design, with_names=False),
        "shape": None if design is None else design.shape,
    }


def _number(value: float | None, form: str) -> str:
    return NONE if value is None or np.isnan(value) else format(value, form)


def _in_words(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return NONE if value is None else str(value)
