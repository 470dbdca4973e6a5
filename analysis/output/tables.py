"""The comparison as tab-separated tables; missing values are n/a, floats have eight digits."""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from conceptrsa.analysis.arrays import Floats
from conceptrsa.analysis.brain.patterns import RegionCoverage
from conceptrsa.analysis.inference.findings import (
    CeilingInterval,
    GroupTest,
    ModelScore,
    ModelTest,
    PartialScore,
    VariancePart,
)
from conceptrsa.analysis.multiverse import MultiverseRow
from conceptrsa.analysis.output.finished_comparison import FinishedComparison
from conceptrsa.analysis.results import Analysis, ComparisonResult
from conceptrsa.analysis.rsa.ceiling_sweep import CeilingSweep
from conceptrsa.analysis.rsa.correlations import mean_over_subjects
from conceptrsa.analysis.rsa.noise_ceiling import NoiseCeiling, sem_of_ceilings
from conceptrsa.bids_config import tsv
from conceptrsa.bids_config.tsv import MISSING

FLOAT_FORMAT = "%.8g"

LABELLED_CIRCULAR = (
    "voxel_counts", "scores", "ceilings", "model_tests", "group_tests", "variance_partition",
    "partial_rsa",
)  # fmt: skip
"""Tables of the primary analysis that say in a column of their own whether it is circular."""

SUPPLIED = "supplied"
"""Stands for distance and voxels if RDMs were supplied."""

CEILING_COLUMNS = [
    "roi", "selection", "draw", "n_voxels", "ceiling_mean", "ceiling_sem", "lower", "upper",
    "circular",
]  # fmt: skip


def tables_of(result: ComparisonResult) -> dict[str, pd.DataFrame | None]:
    """Give every table by the name of its file; None for those that this result does not have."""
    tables = {
        "rsa": rsa_table(result, result.primary),
        "rsa_variants": _variant_table(result),
        "noise_ceilings": noise_ceiling_table(result),
        "voxel_counts": None
        if result.primary.supplied
        else voxel_count_table(result, result.primary),
        "coverage": table_of(result.coverage, RegionCoverage) if result.coverage else None,
        "table_1": _threshold_counts(result),
        "model_tests": table_of(result.model_tests, ModelTest),
        "group_tests": table_of(result.group_tests, GroupTest),
        "multiverse": table_of(result.multiverse, MultiverseRow) if result.multiverse else None,
        **_inference_tables(result),
    }
    for name in LABELLED_CIRCULAR:
        table = tables.get(name)
        if table is not None:
            table["circular"] = _circular(result.primary)
    return tables


def write_tables(result: ComparisonResult, group_dir: Path) -> None:
    """Write every table of a result as .tsv, and remove those that only another result has."""
    for name, table in tables_of(result).items():
        file = group_dir / f"{name}.tsv"
        if table is None:
            file.unlink(missing_ok=True)
        else:
            write_table(table, file)


def _circular(analysis: Analysis) -> str | bool:
    """Whether voxels were chosen by the betas that were scored; not known of supplied RDMs."""
    return MISSING if analysis.supplied else analysis.circular


def write_table(table: pd.DataFrame, file: Path) -> None:
    """Write one table."""
    tsv.write_table(file, table.replace("", MISSING), float_format=FLOAT_FORMAT)


def rsa_table(result: ComparisonResult, analysis: Analysis) -> pd.DataFrame:
    """One row per region, subject and model."""
    rows: list[dict[str, Any]] = []
    settings = analysis.settings
    for roi in analysis.rois:
        normalised = roi.rsa_normalised
        for s, subject in enumerate(result.subjects):
            rows.extend(
                {
                    "subject": subject,
                    "roi": roi.roi,
                    "model": model.name,
                    "group": model.group,
                    "rdm_metric": SUPPLIED if analysis.supplied else settings.rdm_metric,
                    "rsa_metric": settings.rsa_metric,
                    "voxel_selection": SUPPLIED if analysis.supplied else settings.voxel_selection,
                    "n_voxels": np.nan if analysis.supplied else roi.mean_n_voxels[s],
                    "rsa": roi.rsa[s, m],
                    **({} if roi.rsa_common is None else {"rsa_common": roi.rsa_common[s, m]}),
                    "ceiling": roi.ceiling.pairwise[s],
                    "rsa_normalised": normalised[s, m],
                    "circular": _circular(analysis),
                }
                for m, model in enumerate(result.models)
            )
    return pd.DataFrame(rows)


def noise_ceiling_table(result: ComparisonResult) -> pd.DataFrame:
    """One row per region, selection, draw (n/a for top) and number of voxels."""
    if isinstance(result, FinishedComparison):
        return result.noise_ceilings
    parts = [part for sweep in result.sweeps for part in _sweep_parts(sweep)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=CEILING_COLUMNS)


def voxel_count_table(result: ComparisonResult, analysis: Analysis) -> pd.DataFrame:
    """Number of voxels that each subject contributes to each region; mean over folds."""
    return pd.DataFrame(
        [
            {"subject": subject, "roi": roi.roi, "n_voxels": n_voxels}
            for roi in analysis.rois
            for subject, n_voxels in zip(result.subjects, roi.mean_n_voxels, strict=True)
        ]
    )


def table_of(rows: Sequence[Any], kind: type[Any]) -> pd.DataFrame:
    """A table of dataclass instances, its columns the fields in their order."""
    columns = [column.name for column in fields(kind)]
    return pd.DataFrame({name: [getattr(row, name) for row in rows] for name in columns})


def _inference_tables(result: ComparisonResult) -> dict[str, pd.DataFrame | None]:
    kinds: dict[str, tuple[str, type[Any]]] = {
        "scores": ("model_scores", ModelScore),
        "ceilings": ("ceilings", CeilingInterval),
        "variance_partition": ("variance_parts", VariancePart),
        "partial_rsa": ("partial_scores", PartialScore),
    }
    if result.inference is None:
        return dict.fromkeys(kinds)
    return {
        name: table_of(getattr(result.inference, attribute), kind)
        for name, (attribute, kind) in kinds.items()
    }


def _variant_table(result: ComparisonResult) -> pd.DataFrame | None:
    """The scores of Figures 4 to 7, named by the figure."""
    parts = []
    for variant in result.variants:
        table = rsa_table(result, variant)
        table.insert(0, "figure", variant.name)
        parts.append(table)
    return pd.concat(parts, ignore_index=True) if parts else None


def _threshold_counts(result: ComparisonResult) -> pd.DataFrame | None:
    """The paper's Table 1, of the analysis by a threshold."""
    if result.settings.preset != "paper":
        return None
    for analysis in (result.primary, *result.variants):
        if analysis.settings.voxel_selection == "threshold":
            return voxel_count_table(result, analysis)
    return None


def _sweep_parts(sweep: CeilingSweep) -> Iterator[pd.DataFrame]:
    n_draws, n_sizes, _ = sweep.random.pairwise.shape
    yield _ceiling_rows(sweep, "top", pd.array([pd.NA] * n_sizes, dtype="Int64"), sweep.top)
    draws = pd.array(np.repeat(np.arange(n_draws), n_sizes), dtype="Int64")
    yield _ceiling_rows(sweep, "random", draws, sweep.random)


def _ceiling_rows(
    sweep: CeilingSweep, selection: str, draw: Any, ceiling: NoiseCeiling
) -> pd.DataFrame:
    def summary(values: Floats) -> Floats:
        return mean_over_subjects(values.reshape(-1, values.shape[-1]).T)

    by_subject = ceiling.pairwise.reshape(-1, ceiling.pairwise.shape[-1]).T
    return pd.DataFrame(
        {
            "roi": sweep.roi,
            "selection": selection,
            "draw": draw,
            "n_voxels": np.resize(sweep.n_voxels, by_subject.shape[1]),
            "ceiling_mean": mean_over_subjects(by_subject),
            "ceiling_sem": sem_of_ceilings(by_subject),
            "lower": summary(ceiling.lower),
            "upper": summary(ceiling.upper),
            "circular": sweep.circular and selection == "top",
        },
        columns=CEILING_COLUMNS,
    )
