"""Imperfect input on the command line leads to a stated, recorded fallback."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import damaged_input
import numpy as np
import pytest
from damaged_input import FIRST, ONE, Case, arrays, filled, lines_of, nothing

intact, run = damaged_input.intact, damaged_input.run

STATED: Mapping[str, Case] = {
    "nan-voxel-recommended": Case(
        "patterns",
        arrays(ONE, visual__betas=filled(np.nan, 0, 0, 0)),
        ("sub-02: voxels left out because a beta is not finite: visual 1 of 70",),
        ("--no-multiverse",),
    ),
    "infinite-voxel-paper": Case(
        "patterns",
        arrays(ONE, visual__betas=filled(np.inf, 1, 2, 3)),
        ("sub-02: voxels left out because a beta is not finite: visual 1 of 70",),
        ("--preset", "paper"),
    ),
    "fewer-voxels-than-asked-paper": Case(
        "patterns",
        nothing,
        ("sub-01: region hippocampus holds 20 voxels with data, fewer than the requested 30",),
        ("--preset", "paper"),
    ),
    "fewer-voxels-than-asked-recommended": Case(
        "patterns",
        nothing,
        ("sub-03: region visual holds 70 voxels with data, fewer than the requested 1000",),
        ("--no-multiverse", "--voxel-selection", "top-n", "--n-voxels", "1000"),
    ),
    "fewer-voxels-than-asked-threshold": Case(
        "patterns",
        nothing,
        ("sub-03: region hippocampus holds 20 voxels with data, fewer than the requested 1000",),
        ("--preset", "paper", "--voxel-selection", "threshold", "--n-voxels", "1000"),
    ),
    "two-voxels-in-one-subject-recommended": Case(
        "patterns",
        arrays(
            ONE,
            visual__betas=lambda betas: betas[..., :2],
            visual__voxels=lambda voxels: voxels[:2],
            visual__residual_covariance=lambda covariance: covariance[:2, :2],
        ),
        ("visual: no result for sub-02",),
        ("--no-multiverse",),
    ),
    "constant-voxels-recommended": Case(
        "patterns",
        arrays(ONE, visual__betas=filled(0.0, ..., slice(0, 6))),
        (
            "sub-02: voxels left out because their beta is the same for all stimuli (of all runs, "
            "a half or a run), as outside a mask: visual 6 of 70",
        ),
        ("--no-multiverse",),
    ),
    "stimulus-in-fewer-runs": Case(
        "table.tsv",
        lines_of("table.tsv", lambda line: not re.match(rf"02\t{FIRST}\t.*\t9\t", line)),
        (
            "sub-02: stimuli not in all runs, averaged over the runs that have them: "
            f"{FIRST} (3 of 4)",
        ),
        ("--no-multiverse",),
    ),
    "no-halves": Case(
        "paper",
        nothing,
        ("without betas of odd and even runs", "all voxels of every region are used"),
        ("--no-multiverse",),
    ),
}


@pytest.mark.parametrize("name", STATED)
def test_falls_back_and_says_so(
    name: str, run: Callable[[Case], tuple[int, list[str], list[str]]], tmp_path: Path
) -> None:
    case = STATED[name]
    code, complaints, notes = run(case)
    assert (code, complaints) == (0, [])
    for words in case.said:
        assert any(words in note for note in notes)
    group = tmp_path / "out" / "group"
    provenance = json.loads((group / "provenance.json").read_text())
    assert provenance["warnings"] == notes
    tables = sorted(group.glob("*.tsv"))
    assert tables
    for table in tables:
        header, *rows = [line.split("\t") for line in table.read_text().splitlines()]
        for row in rows:
            assert len(row) == len(header)
            assert not {"nan", "inf", "-inf", "none"} & {cell.strip().lower() for cell in row}
