"""The page of a subject: what ran, and whether it can be trusted."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from conceptrsa.analysis.output.report.html_page import render_page
from conceptrsa.bids_config.writing import atomic_path
from conceptrsa.pipelines.reports.drawing import to_address
from conceptrsa.pipelines.reports.heads import Heads
from conceptrsa.pipelines.reports.parts import (
    Column,
    Flip,
    Picture,
    RunPart,
)
from conceptrsa.pipelines.reports.plots import (
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
from conceptrsa.pipelines.reports.tsnr_maps import TsnrSummary, read_tsnr, summarize_tsnr
from conceptrsa.pipelines.reports.words import (
    NONE,
    evidence,
    of_sessions,
    plural,
    reference_of_motion,
    settings_in_words,
    slices_in_words,
)

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


def write_subject_page(out_dir: Path, subject: str, task: str, warnings: Sequence[str]) -> Path:
    """Write `sub-XX.html` from the subject's derivatives, and from nothing else.

    Parameters
    ----------
    out_dir : Path
        Root of the derivatives.
    subject, task : str
        Labels without `sub-` and `task-`.
    warnings : sequence of str
        Shown at the top.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    OSError, ValueError
        When a derivative that every subject has is missing or damaged.
    """
    record = read_subject(out_dir, subject, task)
    html = render_page(
        "subject.html.j2",
        package="conceptrsa.pipelines.reports",
        scripts=("tables.js", "flip.js"),
        title=f"Subject {subject}",
        subtitle=f"{record.data_set}, task {task}",
        sections=SECTIONS,
        warnings=list(warnings),
        **_values(record),
    )
    page = out_dir / f"sub-{subject}.html"
    with atomic_path(page) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return page


def _values(record: SubjectRecord) -> dict[str, Any]:
    heads = Heads(record)
    tsnr = summarize_tsnr(record, heads)
    return {
        **_what_ran(record, tsnr),
        **_motion(record),
        **_registrations(record, heads),
        **_regions(record, heads, tsnr),
        **_tsnr(record, heads, tsnr),
        "slice_times": _slice_times(record.runs),
        "slices_unknown": slices_in_words(record),
        **_design(record.runs),
        "runs": [_run_part(run, heads, tsnr) for run in record.runs],
    }


def _what_ran(record: SubjectRecord, tsnr: TsnrSummary) -> dict[str, Any]:
    times = sorted({run.repetition_time for run in record.runs if run.repetition_time is not None})
    return {
        "facts": [
            ("Raw data", record.raw or NONE),
            ("Runs", f"{len(record.runs)}{of_sessions(record.runs)}"),
            ("Volumes", str(sum(run.n_volumes for run in record.runs))),
            ("TR", f"{', '.join(f'{time:g}' for time in times)} s" if times else NONE),
            ("Stimuli", str(record.n_stimuli)),
            ("Engine", str(record.estimation.get("Engine", NONE))),
        ],
        "settings": settings_in_words(record.estimation, record.software),
        "run_columns": [
            Column("run", numeric=False),
            *map(
                Column,
                (
                    "volumes", "TR (s)", "tSNR", "mean FD (mm)", "max FD (mm)",
                    f"FD > {HIGH_MOTION_MM:g} mm", "shift (mm)", "turn (rad)",
                ),
            ),
        ],
        "run_rows": [
            _run_row(run, median) for run, median in zip(record.runs, tsnr.medians, strict=True)
        ],
        "run_note": "tSNR: median in the brain mask. FD: framewise displacement, and how many "
        "volumes lie above the limit. Shift and turn: the largest of one parameter "
        f"{reference_of_motion(record)}.",
    }  # fmt: skip


def _run_row(run: RunRecord, median_tsnr: float | None) -> list[str]:
    displacement = run.displacement[np.isfinite(run.displacement)]
    measured = len(displacement) > 0
    return [
        run.name,
        str(run.n_volumes),
        NONE if run.repetition_time is None else f"{run.repetition_time:g}",
        NONE if median_tsnr is None else f"{median_tsnr:.1f}",
        f"{displacement.mean():.2f}" if measured else NONE,
        f"{displacement.max():.2f}" if measured else NONE,
        str(run.n_high_motion),
        f"{np.abs(run.motion[:, :3]).max():.2f}",
        f"{np.abs(run.motion[:, 3:]).max():.4f}",
    ]


def _motion(record: SubjectRecord) -> dict[str, Any]:
    high = sum(run.n_high_motion for run in record.runs)
    n_volumes = sum(run.n_volumes for run in record.runs)
    text = (
        f"{high} of {plural(n_volumes, 'volume')} moved by more than {HIGH_MOTION_MM:g} mm "
        "against the volume before (framewise displacement: the six changes added up, rotations "
        "as arcs on a sphere of 50 mm radius; Power et al., 2012)."
    )
    return {
        "motion_text": text,
        "motion": Picture(
            to_address(draw_motion(record.runs)),
            "Three plots over the volumes of all runs: shifts in mm, turns in rad, framewise "
            f"displacement in mm. {text}",
        ),
        "motion_lines": (
            f"Shifts along and turns about x, y, z {reference_of_motion(record)}. Dashed: "
            f"{HIGH_MOTION_MM:g} mm; triangles mark the volumes above.",
        ),
    }


def _registrations(record: SubjectRecord, heads: Heads) -> dict[str, Any]:
    freesurfer = normalization = ""
    if record.by_freesurfer:
        freesurfer = (
            f"The betas went to MNI305 by {record.estimation['Normalization']}, and so do the "
            "outlines below. The pictures show the coregistration that the brain mask was made by."
        )
    if "talairach.xfm" in str(record.normalization.get("method", "")):
        normalization = (
            "Nothing was registered here: the transform is talairach.xfm of a FreeSurfer "
            "reconstruction. The pictures show what it does to the T1w."
        )
    return {
        "freesurfer_text": freesurfer,
        "coregistration": _flip(
            "flip-coregistration",
            heads.draw_coregistration(),
            ("mean EPI", "T1w at the same points"),
            "Do brain edges, ventricles and the cerebellum stay where they are? Contrasts differ, "
            "and the EPI is dark near the ear canals and the nasal cavity.",
        ),
        "coregistration_facts": evidence(record.coregistration),
        "normalization_text": normalization,
        "normalization": _flip(
            "flip-normalization",
            heads.draw_normalization(),
            ("T1w", "template at the same points"),
            "Are outline, orientation and size of the brain those of the template? The transform "
            "is affine: gyri need not match.",
        ),
        "normalization_facts": evidence(record.normalization),
    }


def _flip(
    id: str, pair: tuple[bytes, bytes] | None, names: tuple[str, str], caption: str
) -> Flip | None:
    if pair is None:
        return None
    first, second = (
        Picture(to_address(png), f"Axial, coronal and sagittal planes of the {name}")
        for png, name in zip(pair, names, strict=True)
    )
    return Flip(id, first, second, names[1].split(" at ")[0], caption)


def _regions(record: SubjectRecord, heads: Heads, tsnr: TsnrSummary) -> dict[str, Any]:
    png = heads.draw_regions(record.regions)
    on_t1w = heads.draw_t1w(record.regions)
    names = ", ".join(region.name for region in record.regions)
    return {
        "t1w": on_t1w
        and Picture(
            to_address(on_t1w),
            f"Planes through the T1w in MNI305 with outlines of its brain mask and of: {names}",
        ),
        "t1w_lines": (
            "Does the dotted line follow the brain, without skull and without cutting cortex? Do "
            "the regions lie in the gyri that they are named after?",
        ),
        "t1w_facts": [
            *((f"brain mask: {name}", value) for name, value in evidence(record.t1w_mask)),
            *((f"regions: {name}", value) for name, value in evidence(record.segmentation)),
        ],
        "regions": png
        and Picture(
            to_address(png),
            f"Planes through the mean EPI with outlines of the brain mask and of: {names}",
        ),
        "regions_lines": (
            f"Regions from: {record.estimation.get('RegionsFrom', NONE)}. Hemispheres are not "
            "drawn apart.",
        ),
        "region_columns": [
            Column("region", numeric=False),
            *map(
                Column,
                ("voxels", "with betas", "coverage", "median tSNR", "from the atlas (mm)"),
            ),
        ],
        "region_rows": [
            [
                region.name,
                str(region.n_voxels),
                str(region.n_covered),
                f"{region.coverage:.1%}",
                NONE if region.name not in tsnr.regions else f"{tsnr.regions[region.name]:.1f}",
                NONE if np.isnan(region.distance_mm) else f"{region.distance_mm:.1f}",
            ]
            for region in record.regions
        ],
        "region_note": "Voxels of 2 mm in MNI305; the tSNR is that of the EPI's own voxels, "
        "averaged over the runs. From the atlas: distance between the centre of the region and "
        "that of the same region of the packaged atlas.",
    }


def _tsnr(record: SubjectRecord, heads: Heads, tsnr: TsnrSummary) -> dict[str, Any]:
    missing = [
        run.name for run, median in zip(record.runs, tsnr.medians, strict=True) if median is None
    ]
    medians = [median for median in tsnr.medians if median is not None]
    values: dict[str, Any] = {
        "tsnr_missing": f"There is no map of: {', '.join(missing)}." if missing else "",
        "tsnr": None,
        "tsnr_by_run": None,
        "tsnr_text": "",
    }
    if tsnr.mean is None:
        return values
    middle = (
        f"{min(medians):.1f} to {max(medians):.1f}" if len(medians) > 1 else f"{medians[0]:.1f}"
    )
    values["tsnr_text"] = (
        "Mean over time divided by the standard deviation about a straight line, in "
        "the realigned runs; responses to the stimuli count as noise. Median in the brain "
        f"mask: {middle}."
    )
    values["tsnr"] = Picture(
        to_address(heads.draw_tsnr(tsnr.mean, "mean over runs", tsnr.highest)),
        f"Axial planes of the tSNR, mean over the runs. Median in the brain mask: {middle}.",
    )
    if len(medians) > 1 and not missing:
        values["tsnr_by_run"] = Picture(
            to_address(draw_tsnr_by_run(medians)),
            f"Median tSNR of {len(medians)} runs, from {min(medians):.1f} to {max(medians):.1f}.",
        )
    return values


def _slice_times(runs: Sequence[RunRecord]) -> list[tuple[Picture, str, str]]:
    """One picture for the runs of the same times."""
    alike: dict[tuple[Any, ...], list[RunRecord]] = {}
    for run in runs:
        if run.acquisition.get("SliceTiming"):
            found = run.acquisition
            key = (
                tuple(found["SliceTiming"]),
                found["SliceEncodingDirection"],
                found["StartTime"],
            )
            alike.setdefault(key, []).append(run)
    shown = []
    for (times, _, reference), members in alike.items():
        whose = (
            "All runs." if len(members) == len(runs) else f"{', '.join(r.name for r in members)}."
        )
        order = acquisition_order(np.array(times))
        text = (
            f"{len(times)} slices at {plural(max(order), 'moment')} of a volume, numbered in the "
            f"order of acquisition; all are taken to {reference:g} s after its start."
        )
        shown.append((Picture(to_address(draw_slice_times(members[0])), text), whose, text))
    return shown


def _design(runs: Sequence[RunRecord]) -> dict[str, Any]:
    first = next((run for run in runs if run.design_file is not None), None)
    design = first.design() if first is not None else None
    if first is None or design is None:
        return {
            "design_text": "The design matrices were not saved.",
            "design": None,
            "design_title": "",
            "design_lines": (),
        }
    return {
        "design_text": "Each run has its own columns of motion, drift and constant.",
        "design": Picture(
            to_address(draw_design(design, with_names=True)),
            f"Design matrix of {first.name}: {_size_of(design)}.",
        ),
        "design_title": f"Design matrix of {first.name}.",
        "design_lines": (
            f"{_size_of(design)}; each column in units of its largest absolute value, red above "
            "and blue below 0. Those of all runs are below.",
        ),
    }


def _run_part(run: RunRecord, heads: Heads, tsnr: TsnrSummary) -> RunPart:
    design = run.design()
    values = read_tsnr(run)
    return RunPart(
        name=run.name,
        summary=f"{plural(run.n_volumes, 'volume')}, {run.n_high_motion} of high motion",
        motion=Picture(
            to_address(draw_motion([run])),
            f"Shifts, turns and framewise displacement of {run.name}; {run.n_high_motion} volumes "
            f"above {HIGH_MOTION_MM:g} mm.",
        ),
        tsnr=None
        if values is None
        else Picture(
            to_address(heads.draw_tsnr(values, run.name, tsnr.highest)),
            f"Axial planes of the tSNR of {run.name}.",
        ),
        design=None
        if design is None
        else Picture(
            to_address(draw_design(design, with_names=False)),
            f"Design matrix of {run.name}: {_size_of(design)}.",
        ),
        design_lines=() if design is None else (f"{_size_of(design)}.",),
    )


def _size_of(design: pd.DataFrame) -> str:
    return f"{plural(len(design), 'volume')} by {plural(len(design.columns), 'column')}"
