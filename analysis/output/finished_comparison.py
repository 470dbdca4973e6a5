"""A finished comparison, read back from its tables: what figures are drawn of again."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING as NO_DEFAULT
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import numpy as np
import pandas as pd

from conceptrsa.analysis.arrays import Floats
from conceptrsa.analysis.brain.folds import folds_of
from conceptrsa.analysis.brain.stimulus_sets import StimulusSets
from conceptrsa.analysis.inference.findings import (
    CeilingInterval,
    GroupTest,
    Inference,
    ModelScore,
    ModelTest,
    PartialScore,
    VariancePart,
)
from conceptrsa.analysis.multiverse import MultiverseRow
from conceptrsa.analysis.output.region_volumes import read_region_volumes
from conceptrsa.analysis.results import PRIMARY, Analysis, ComparisonResult, Model, RoiResult
from conceptrsa.analysis.rsa.noise_ceiling import NoiseCeiling
from conceptrsa.analysis.settings import ComparisonSettings, OwnFunction
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.tsv import MISSING, read_table
from conceptrsa.bids_config.writing import file_errors

TableRow = TypeVar("TableRow")

PROVENANCE = "provenance.json"
REMEDY = "give the folder of a finished comparison, or compare again"

NAMES = ("roi", "model", "group", "subject", "group_a", "group_b", "reference", "given", "part")
"""Columns that hold names, even where these look like numbers."""

OF_HALVES = ("split-half",)
"""Names of noise ceilings that compare the halves of the runs."""


@dataclass(frozen=True, repr=False)
class FinishedComparison(ComparisonResult):
    """A result without RDMs and without what each subject's noise ceiling is over the voxels.

    Attributes
    ----------
    noise_ceilings : DataFrame
        The noise ceiling over the number of voxels, as it was written.
    """

    noise_ceilings: pd.DataFrame = field(default_factory=pd.DataFrame)


def read_finished(out_dir: Path) -> FinishedComparison:
    """Read the tables of a finished comparison.

    Parameters
    ----------
    out_dir : Path
        What `--out` was, or the folder `group` in it.

    Raises
    ------
    InputError
        If the folder holds no finished comparison, or a table of another version.
    """
    group_dir = group_folder(out_dir)
    provenance = _read_provenance(group_dir / PROVENANCE)
    rsa = _read(group_dir, "rsa")
    if rsa is None:
        raise InputError(f"{group_dir} holds no rsa.tsv: {REMEDY}")
    settings = _settings(provenance["settings"])
    models = tuple(map(_model, provenance["models"]))
    subjects = tuple(provenance["subjects"])
    model_scores = _rows_of(group_dir, "scores", ModelScore)
    ceilings = _rows_of(group_dir, "ceilings", CeilingInterval)
    model_tests = _rows_of(group_dir, "model_tests", ModelTest)
    group_tests = _rows_of(group_dir, "group_tests", GroupTest)
    inference = Inference(
        model_scores,
        ceilings,
        _rows_of(group_dir, "variance_partition", VariancePart),
        _rows_of(group_dir, "partial_rsa", PartialScore),
        model_tests,
        group_tests,
    )
    rois = tuple(
        _region(str(name), of_roi, [model.name for model in models], subjects, inference)
        for name, of_roi in rsa.groupby("roi", sort=False)
    )
    noise_ceilings = _read(group_dir, "noise_ceilings")
    return FinishedComparison(
        subjects=subjects,
        stimuli=tuple(provenance["stimuli"]),
        sets=StimulusSets((tuple(provenance["stimuli"]),) * len(subjects), ()),
        models=models,
        reference_model=provenance["reference_model"],
        model_rdms=np.empty((len(models), 0)),
        primary=Analysis(PRIMARY, settings, folds_of(settings), rois),
        variants=(),
        sweeps=(),
        model_tests=model_tests,
        group_tests=group_tests,
        inference=inference if model_scores else None,
        multiverse=_rows_of(group_dir, "multiverse", MultiverseRow),
        warnings=tuple(provenance["warnings"]),
        sources=(),
        region_map=read_region_volumes(group_dir),
        noise_ceilings=pd.DataFrame() if noise_ceilings is None else noise_ceilings,
    )


def lost_in_tables(result: FinishedComparison) -> list[str]:
    """Say what of the figures cannot be drawn from the tables, a clause each."""
    lost = []
    if result.inference is None:
        lost.append(
            "with preset 'paper' the figures shares_of_ceiling, groups and figure_4 to figure_7, "
            "and Nili's bounds; the folder of the comparison has them as it drew them"
        )
    if len(result.primary.folds) > 1 and not result.primary.supplied:
        lost.append("numbers of voxels of each half of the runs (their mean is shown)")
    return lost


def group_folder(out_dir: Path) -> Path:
    """Give the folder that the tables of a finished comparison lie in."""
    for folder in (out_dir / "group", out_dir):
        if (folder / PROVENANCE).is_file():
            return folder
    raise InputError(f"{out_dir} holds no finished comparison (no group/{PROVENANCE}): {REMEDY}")


def _read_provenance(file: Path) -> dict[str, Any]:
    with file_errors(file):
        text = file.read_text(encoding="utf-8")
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{file} is damaged ({error}): compare again") from None
    needed = ("settings", "models", "subjects", "stimuli", "reference_model", "warnings")
    lacking = [name for name in needed if name not in found]
    if lacking:
        raise InputError(f"{file} lacks {', '.join(lacking)}: {REMEDY}")
    return dict(found)


def _model(described: Mapping[str, Any]) -> Model:
    known = {attribute.name for attribute in fields(Model)}
    return Model(**{name: value for name, value in described.items() if name in known})


def _settings(described: Mapping[str, Any]) -> ComparisonSettings:
    """Settings as the provenance describes them; those of earlier versions are passed over."""
    known = {setting.name for setting in fields(ComparisonSettings)}
    given = {name: value for name, value in described.items() if name in known}
    given["preset"] = str(given["preset"]).partition(",")[0]
    for name in ("rdm_metric", "rsa_metric"):
        if str(given.get(name)).endswith("()"):
            given[name] = _named_only(given[name])
    if "voxel_selection" not in given:  # RDMs were supplied
        given |= {"voxel_selection": "all", "multiverse": False}
    return ComparisonSettings(**given)


def _named_only(name: str) -> OwnFunction:
    """A function of the user's own, of which the provenance has the name alone."""

    def not_kept(*_: object) -> float:
        raise InputError(f"{name} is not kept with the tables: compare again to use it")

    not_kept.__name__ = name.removesuffix("()")
    return OwnFunction(not_kept)


def _read(group_dir: Path, name: str) -> pd.DataFrame | None:
    """Read one table, its numbers as numbers; None where there is none."""
    file = group_dir / f"{name}.tsv"
    if not file.exists():
        return None
    frame = read_table(file).frame()
    for column in frame.columns.difference(list(NAMES), sort=False):
        cells = frame[column].replace(MISSING, "nan")
        numbers = pd.to_numeric(cells, errors="coerce")
        if bool((numbers.notna() | (cells == "nan")).all()):
            frame[column] = numbers
    return frame


def _rows_of(group_dir: Path, name: str, kind: type[TableRow]) -> tuple[TableRow, ...]:
    """Rows of a table as they were before they were written; none where there is no table."""
    file = group_dir / f"{name}.tsv"
    if not file.exists():
        return ()
    table = read_table(file)
    hints = get_type_hints(kind)
    columns: dict[str, Sequence[Any]] = {}
    for column in fields(kind):  # type: ignore[arg-type]
        if column.name not in table.columns and column.default is not NO_DEFAULT:
            continue
        cells = table.column(column.name)
        if hints[column.name] is float:
            columns[column.name] = table.numbers([column.name], missing=True)[:, 0].tolist()
        elif hints[column.name] is int:
            columns[column.name] = [int(float(cell)) for cell in cells]
        elif hints[column.name] in (bool, bool | None):
            columns[column.name] = [None if cell == MISSING else cell == "True" for cell in cells]
        else:
            columns[column.name] = ["" if cell == MISSING else cell for cell in cells]
    return tuple(
        kind(**dict(zip(columns, values, strict=True)))
        for values in zip(*columns.values(), strict=True)
    )


def _region(
    name: str,
    table: pd.DataFrame,
    models: Sequence[str],
    subjects: Sequence[str],
    inference: Inference,
) -> RoiResult:
    """One region of `rsa.tsv`; subjects' bounds of the noise ceiling are the mean of all."""

    def by_subject(column: str) -> Floats:
        wide = table.pivot(index="subject", columns="model", values=column)
        return np.asarray(
            wide.reindex(index=list(subjects), columns=list(models)), dtype=np.float64
        )

    found = {ceiling.ceiling: ceiling for ceiling in inference.of(name).ceilings}
    of_halves = [found[kind] for kind in OF_HALVES if kind in found]
    tested = found.get("pairwise") or next(iter(of_halves), None)
    bounds = [
        np.full(len(subjects), found[kind].estimate if kind in found else np.nan)
        for kind in ("lower", "upper")
    ]
    n_voxels = np.rint(np.nan_to_num(by_subject("n_voxels")[:, :1].T)).astype(np.int64)
    return RoiResult(
        roi=name,
        n_voxels=n_voxels,
        rdms=np.empty((1, len(subjects), 0)),
        rsa=by_subject("rsa"),
        ceiling=NoiseCeiling(by_subject("ceiling")[:, 0], *bounds),
        ceiling_p=np.nan if tested is None else tested.p,
        ceiling_from="halves" if of_halves else "subjects",
        rsa_common=by_subject("rsa_common") if "rsa_common" in table else None,
    )
