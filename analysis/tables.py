"""The comparison as tab-separated tables; missing values are n/a, floats have eight digits."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.ceiling_sweep import CeilingSweep
from analysis.noise_ceiling import NoiseCeiling, sem_of_ceilings
from analysis.results import ComparisonResult
from analysis.significance import GroupTest, ModelTest, mean_over_subjects
from bids_config.files import atomic_path

FLOAT_FORMAT = "%.8g"


def write_tables(result: ComparisonResult, group_dir: Path) -> None:
    """Write rsa, noise_ceilings, voxel_counts, model_tests and group_tests as .tsv files."""
    tables = {
        "rsa": rsa_table(result),
        "noise_ceilings": noise_ceiling_table(result),
        "voxel_counts": voxel_count_table(result),
        "model_tests": _table_of_tests(result.model_tests, ModelTest),
        "group_tests": _table_of_tests(result.group_tests, GroupTest),
    }
    for name, table in tables.items():
        with atomic_path(group_dir / f"{name}.tsv") as file:
            table.to_csv(
                file,
                sep="\t",
                index=False,
                na_rep="n/a",
                float_format=FLOAT_FORMAT,
                lineterminator="\n",
            )


def rsa_table(result: ComparisonResult) -> pd.DataFrame:
    """One row per region, subject and model."""
    rows: list[dict[str, Any]] = []
    for roi in result.rois:
        normalised = roi.rsa_normalised
        for s, subject in enumerate(result.subjects):
            rows.extend(
                {
                    "subject": subject,
                    "roi": roi.roi,
                    "model": model.name,
                    "group": model.group,
                    "rdm_metric": result.settings.rdm_metric,
                    "rsa_metric": result.settings.rsa_metric,
                    "voxel_selection": result.settings.voxel_selection,
                    "n_voxels": roi.n_voxels[s],
                    "rsa": roi.rsa[s, m],
                    "ceiling": roi.ceiling.pairwise[s],
                    "rsa_normalised": normalised[s, m],
                }
                for m, model in enumerate(result.models)
            )
    return pd.DataFrame(rows)


def noise_ceiling_table(result: ComparisonResult) -> pd.DataFrame:
    """One row per region, selection, draw (n/a for top) and number of voxels."""
    return pd.concat(
        [part for sweep in result.sweeps for part in _sweep_parts(sweep)], ignore_index=True
    )


def voxel_count_table(result: ComparisonResult) -> pd.DataFrame:
    """Number of voxels that each subject contributes to each region (the paper's Table 1)."""
    return pd.DataFrame(
        [
            {"subject": subject, "roi": roi.roi, "n_voxels": n_voxels}
            for roi in result.rois
            for subject, n_voxels in zip(result.subjects, roi.n_voxels, strict=True)
        ]
    )


def _sweep_parts(sweep: CeilingSweep) -> Iterator[pd.DataFrame]:
    n_draws, n_sizes, _ = sweep.random.pairwise.shape
    yield _ceiling_rows(sweep, "top", pd.array([pd.NA] * n_sizes, dtype="Int64"), sweep.top)
    draws = pd.array(np.repeat(np.arange(n_draws), n_sizes), dtype="Int64")
    yield _ceiling_rows(sweep, "random", draws, sweep.random)


def _ceiling_rows(
    sweep: CeilingSweep, selection: str, draw: Any, ceiling: NoiseCeiling
) -> pd.DataFrame:
    def summary(values: NDArray[np.float64]) -> NDArray[np.float64]:
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
        }
    )


def _table_of_tests(
    tests: tuple[ModelTest, ...] | tuple[GroupTest, ...], kind: type[ModelTest] | type[GroupTest]
) -> pd.DataFrame:
    columns = list(kind.__dataclass_fields__)
    return pd.DataFrame([asdict(test) for test in tests], columns=columns)
