"""The check against published numbers: agreement, deviations, and what is missing."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import pdist

from conceptrsa.analysis.brain.patterns import RoiPatterns, SubjectPatterns
from conceptrsa.analysis.output.published import (
    PEAK_INDICES,
    VOXEL_COUNTS,
    check_against_published,
    check_result,
)
from conceptrsa.analysis.rsa.ceiling_sweep import CeilingSweep
from conceptrsa.analysis.rsa.noise_ceiling import NoiseCeiling
from conceptrsa.analysis.settings import settings_for
from conceptrsa.bids_config.reader import load_dataset_config

PAPER_TABLE_1 = """\
visual          530 831 343 707 592
fusiform        532 376 217 368 508
hippocampus      30  30  30  30  30
parahippocampal 122  67  85 111 167
"""

AT = {"visual": 1369, "hippocampus": 31, "hippocampus-left": 10, "parahippocampal-right": 110}


def sweep(roi: str, peak: int, last: int, step: int = 1) -> CeilingSweep:
    sizes = np.arange(3, last + 1, step)
    curve = 0.3 - 1e-4 * np.abs(sizes - peak)
    pairwise = curve[:, None] + np.array([-0.05, -0.01, 0.0, 0.02, 0.04])
    ceiling = NoiseCeiling(pairwise, pairwise, pairwise)
    return CeilingSweep(roi, sizes, ceiling, ceiling)


def agreeing() -> tuple[dict, list[CeilingSweep], dict]:
    counts = {}
    for line in PAPER_TABLE_1.splitlines():
        roi, *numbers = line.split()
        counts[roi] = {f"sub-{i:02d}": int(number) for i, number in enumerate(numbers, start=1)}
    sweeps = [sweep(roi, index + 2, 2500) for roi, index in PEAK_INDICES.items()]
    spread = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    # The standard error of n (-2, -1, 0, 1, 2) is n sqrt(0.5).
    ceilings = {
        "hippocampus": -0.0123 + 0.0118 / np.sqrt(0.5) * spread,
        "visual": 0.57 + 0.01 * spread,
        "fusiform": 0.41 + 0.01 * spread,
        "parahippocampal": 0.22 + 0.01 * spread,
    }
    return counts, sweeps, ceilings


def row(table: pd.DataFrame, quantity: str, roi: str, subject: str | None = None) -> pd.Series:
    chosen = table["quantity"].str.contains(quantity) & (table["roi"] == roi)
    chosen &= table["subject"].isna() if subject is None else table["subject"] == subject
    assert chosen.sum() == 1
    return table[chosen].iloc[0]


def test_published_numbers_agree_with_themselves() -> None:
    table = check_against_published(*agreeing())
    assert list(table.columns) == ["quantity", "roi", "subject", "published", "found", "agrees"]
    assert len(table) == 4 * 5 + 12 + 2 + 3
    assert table["agrees"].all()
    assert table["agrees"].notna().all()
    for roi, n_voxels in AT.items():
        assert row(table, "peak", roi)["published"] == str(n_voxels)
    assert row(table, "threshold", "fusiform", "sub-03")["published"] == "217"
    assert row(table, "standard error", "hippocampus")["found"] == pytest.approx(0.0118)


def test_deviations_are_found() -> None:
    counts, sweeps, ceilings = agreeing()
    counts["fusiform"]["sub-03"] = 218
    sweeps = [sweep(s.roi, 30, 700) if s.roi == "hippocampus" else s for s in sweeps]
    ceilings["hippocampus"] = ceilings["hippocampus"] - 0.001
    ceilings["visual"] = ceilings["visual"] + 0.1
    table = check_against_published(counts, sweeps, ceilings)
    wrong = table[~table["agrees"]]
    assert wrong["roi"].tolist() == ["fusiform", "hippocampus", "hippocampus", "visual"]
    assert wrong["found"].tolist()[:2] == [218, 30]
    assert row(table, "mean", "hippocampus")["found"] == pytest.approx(-0.0133)


def test_peaks_are_sought_where_the_authors_sought_them() -> None:
    """A higher ceiling at 2000 voxels and more was not among theirs."""
    counts, sweeps, ceilings = agreeing()
    pairwise = sweeps[0].top.pairwise.copy()
    pairwise[sweeps[0].n_voxels >= 2000] = 0.9
    sweeps[0] = CeilingSweep(
        "visual", sweeps[0].n_voxels, NoiseCeiling(pairwise, pairwise, pairwise), sweeps[0].random
    )
    table = check_against_published(counts, sweeps, ceilings)
    assert row(table, "peak", "visual")["found"] == 1369


def test_what_is_missing_neither_agrees_nor_deviates() -> None:
    counts, sweeps, ceilings = agreeing()
    del counts["visual"]["sub-05"], counts["hippocampus"], ceilings["fusiform"]
    sweeps = [sweep("hippocampus", 31, 700, step=2), *sweeps[:2]]
    table = check_against_published(counts, sweeps, {})
    assert row(table, "threshold", "visual", "sub-05")[["found", "agrees"]].isna().all()
    assert row(table, "threshold", "visual", "sub-04")["agrees"]
    assert row(table, "threshold", "hippocampus", "sub-01")[["found", "agrees"]].isna().all()
    thinned = row(table, "peak", "hippocampus")
    assert thinned["found"] == 31
    assert pd.isna(thinned["agrees"])
    assert row(table, "peak", "fusiform")[["found", "agrees"]].isna().all()
    assert row(table, "ceiling of all voxels, mean", "visual")[["found", "agrees"]].isna().all()


def test_regions_are_those_of_the_data_set() -> None:
    names = {roi.name for roi in load_dataset_config("ds001246").rois}
    assert set(PEAK_INDICES) == names
    assert set(VOXEL_COUNTS) < names


def test_a_result_is_held_against_them() -> None:
    """Counts come from the analysis by threshold, ceilings from the betas, gaps or not."""
    rng = np.random.default_rng(0)
    labels = tuple(f"sub-{number:02d}" for number in range(1, 6))
    signal = rng.standard_normal((10, 3))
    subjects = [
        SubjectPatterns(
            label.removeprefix("sub-"),
            tuple(f"n{row}" for row in range(10)),
            {
                "hippocampus": RoiPatterns(
                    signal @ rng.standard_normal((3, 60)) + rng.standard_normal((10, 60)),
                    np.arange(60),
                )
            },
        )
        for label in labels
    ]
    settings = settings_for("paper", sweep_dense_until=5, sweep_log_points=2)

    def analysis(selection: str, counts: list[int]) -> SimpleNamespace:
        roi = SimpleNamespace(roi="hippocampus", n_voxels=np.array([counts]))
        return SimpleNamespace(
            settings=settings_for("paper", voxel_selection=selection), rois=(roi,)
        )

    result = SimpleNamespace(
        settings=settings,
        subjects=labels,
        primary=analysis("top-n", [5] * 5),
        variants=(analysis("threshold", [30, 30, 29, 30, 30]),),
    )
    table = check_result(result, subjects)
    counts = table[(table["roi"] == "hippocampus") & table["subject"].notna()]
    assert counts["agrees"].tolist() == [True, True, False, True, True]
    found = row(table, "peak", "hippocampus")
    assert 3 <= found["found"] <= 60
    assert not pd.isna(found["agrees"])
    rdms = [pdist(subject.rois["hippocampus"].values, "correlation") for subject in subjects]
    pairwise = (np.corrcoef(rdms).sum(axis=1) - 1) / 4
    assert row(table, "mean", "hippocampus")["found"] == pytest.approx(pairwise.mean(), abs=1e-12)
    assert row(table, "peak", "visual")[["found", "agrees"]].isna().all()
