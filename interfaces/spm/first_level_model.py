"""The first-level model as SPM is told of it, and what comes back, matched by name.

Two run models:

- `sessions`: one SPM session per run. SPM repeats each condition in each session, so a beta is
  found by session *and* name, ``Sn(3) stimulus:n01443537_22563*bf(1)``.
- `concatenated`: all runs as one session, one regressor per condition, with what
  `spm_fmri_concatenate` does (a constant, a filter and an AR(1) model per run) and two things that
  it leaves undone: grand mean scaling is per run as well, and a response stays within its run.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.io import loadmat, savemat

from conceptrsa.bids_config.errors import StepError
from conceptrsa.interfaces.numerics.design import (
    MOTION_PARAMETERS,
    Condition,
    column_name,
    information_of,
)

ORDER_OF_KINDS = ("fixation", "one-back", "stimulus")
"""Numbers of betas as in the paper: 1 fixation, 2 one-back, from 3 on the images."""

_CONDITION = re.compile(r"Sn\((\d+)\) (.+)\*bf\(1\)")
# A condition shorter than this share of the longest of its kind has (nearly) no volume after its
# onsets. Kinds differ in length by nature: fixation is there in every run, a picture perhaps once.
_SHORTEST_REGRESSOR = 0.001


@dataclass(frozen=True)
class Run:
    """One run, as the model needs it.

    Attributes
    ----------
    scans : Path
        4D image, uncompressed.
    n_volumes : int
    events : pd.DataFrame
        Columns onset (s), duration (s), condition, kind.
    motion : array, shape (volumes, 6)
        In mm and rad.
    """

    scans: Path
    n_volumes: int
    events: pd.DataFrame
    motion: NDArray[np.float64]

    @property
    def stimuli(self) -> set[str]:
        """Ids of the stimuli that were shown."""
        return set(self.events.loc[self.events["kind"] == "stimulus", "condition"])


@dataclass(frozen=True)
class TimedCondition(Condition):
    """Events of one condition, in seconds from the start of its SPM session."""

    onsets: tuple[float, ...]
    durations: tuple[float, ...]


@dataclass(frozen=True)
class EstimatedModel:
    """SPM's design after estimation, by name.

    Attributes
    ----------
    names : tuple of str
        `SPM.xX.name`.
    design, whitened : array, shape (volumes, columns)
        `SPM.xX.X`, and `SPM.xX.xKXs.X`: whitened and filtered.
    filters : tuple of array, shape (volumes of the run, cosines)
        `SPM.xX.K.X0`, what is filtered out of each run.
    """

    names: tuple[str, ...]
    design: NDArray[np.float64]
    whitened: NDArray[np.float64]
    filters: tuple[NDArray[np.float64], ...]

    def conditions(self, session: int) -> dict[str, int]:
        """Design column (counted from 0) of each condition of a session, by its column name."""
        found = {}
        for index, name in enumerate(self.names):
            match = _CONDITION.fullmatch(name)
            if match is not None and int(match.group(1)) == session:
                found[unquote(match.group(2))] = index
        return found

    def of_session(self, session: int) -> list[int]:
        """All design columns of a session."""
        return [
            index for index, name in enumerate(self.names) if name.startswith(f"Sn({session}) ")
        ]


def conditions_of(events: pd.DataFrame, baseline: str) -> tuple[TimedCondition, ...]:
    """Sort events into conditions: fixation (unless implicit), one-back, stimuli by id."""
    modelled = events if baseline == "explicit" else events[events["kind"] != "fixation"]
    columns = list(map(column_name, modelled["condition"], modelled["kind"]))
    conditions = []
    for column, rows in modelled.assign(column=columns).groupby("column", sort=True):
        kind = str(rows["kind"].iloc[0])
        name = str(rows["condition"].iloc[0]) if kind == "stimulus" else kind
        ordered = rows.sort_values("onset")
        conditions.append(
            TimedCondition(
                str(column),
                name,
                kind,
                len(ordered),
                tuple(map(float, ordered["onset"])),
                tuple(map(float, ordered["duration"])),
            )
        )
    return tuple(sorted(conditions, key=lambda c: (ORDER_OF_KINDS.index(c.kind), c.column)))


def session_info(
    scans: Sequence[Path],
    conditions: Sequence[TimedCondition],
    regressors: Path,
    high_pass_seconds: float,
) -> dict[str, object]:
    """One session in the terms of nipype's `Level1Design`."""
    return {
        "scans": [str(path) for path in scans],
        "cond": [
            {
                "name": escaped(condition.column),
                "onset": list(condition.onsets),
                "duration": list(condition.durations),
            }
            for condition in conditions
        ],
        "multi_reg": np.array([str(regressors)], dtype=object),
        "hpf": float(high_pass_seconds),
    }


def concatenated(runs: Sequence[Run], repetition_time: float) -> pd.DataFrame:
    """Events of all runs, in seconds from the start of the first."""
    starts = np.cumsum([0, *(run.n_volumes for run in runs[:-1])]) * repetition_time
    return pd.concat(
        [
            run.events.assign(onset=run.events["onset"] + start)
            for run, start in zip(runs, starts, strict=True)
        ],
        ignore_index=True,
    )


def write_events_by_run(
    path: Path, runs: Sequence[Run], conditions: Sequence[TimedCondition], baseline: str
) -> None:
    """Write the events of each run, in seconds from its start, for `concatenation`.

    Cells of runs x conditions, in the order of `conditions`; empty where a run lacks a condition.
    """
    shape = (len(runs), len(conditions))
    cells = {name: np.empty(shape, dtype=object) for name in ("onsets", "durations")}
    for row, run in enumerate(runs):
        of_run = {condition.column: condition for condition in conditions_of(run.events, baseline)}
        for column, condition in enumerate(conditions):
            found = of_run.get(condition.column)
            for name, array in cells.items():
                values = () if found is None else getattr(found, name)
                array[row, column] = np.array(values, dtype=np.float64).reshape(-1, 1)
    savemat(path, cells)


def write_motion_regressors(path: Path, runs: Sequence[Run]) -> None:
    """Write the motion of runs, each run in columns of its own, as SPM's multiple regressors.

    A parameter that never changes in a run is left out: it would repeat the run's constant.
    """
    n_volumes = sum(run.n_volumes for run in runs)
    columns, names, start = [], [], 0
    for number, run in enumerate(runs, start=1):
        rows = slice(start, start + run.n_volumes)
        for parameter, values in zip(MOTION_PARAMETERS, run.motion.T, strict=True):
            if np.ptp(values) > 0:
                column = np.zeros(n_volumes)
                column[rows] = values - values.mean()
                columns.append(column)
                names.append(parameter if len(runs) == 1 else f"run{number:02d}_{parameter}")
        start += run.n_volumes
    regressors = np.column_stack(columns) if columns else np.zeros((n_volumes, 0))
    cells = np.empty((1, len(names)), dtype=object)
    cells[0] = names
    savemat(path, {"R": regressors, "names": cells})


def concatenation(spm_mat: Path, events_by_run: Path, n_volumes: Sequence[int]) -> str:
    """Statements that make runs of one concatenated session be treated as runs.

    Sources: `spm_fmri_concatenate` (constants, filters, AR(1)), `spm_fmri_spm_ui` (scaling),
    `spm_fMRI_design` (events, convolution).

    Parameters
    ----------
    spm_mat : Path
        File of the model, not yet estimated.
    events_by_run : Path
        From `write_events_by_run`.
    n_volumes : sequence of int
        Of each run.
    """
    scans = " ".join(map(str, n_volumes))
    return f"""\
spm_fmri_concatenate('{spm_mat}', [{scans}]);
load('{spm_mat}');
load('{events_by_run}');
last = cumsum([{scans}]);
first = [1, last(1:end-1) + 1];
for run = 1:numel(last)
  rows = first(run):last(run);
  % The grand mean of every run is 100.
  factor = SPM.xGX.GM / mean(SPM.xGX.rg(rows)) / SPM.xGX.gSF(rows(1));
  SPM.xGX.gSF(rows) = SPM.xGX.gSF(rows) * factor;
  for scan = rows
    SPM.xY.VY(scan).pinfo(1:2,:) = SPM.xY.VY(scan).pinfo(1:2,:) * factor;
    SPM.xY.VY(scan).private.dat.scl_slope = SPM.xY.VY(scan).private.dat.scl_slope * factor;
    SPM.xY.VY(scan).private.dat.scl_inter = SPM.xY.VY(scan).private.dat.scl_inter * factor;
  end
  % Responses begin and end with their run: each run's events are convolved by themselves.
  shown = find(~cellfun('isempty', onsets(run, :)));
  single = SPM;
  single.nscan = numel(rows);
  single.Sess.U = SPM.Sess.U(shown);
  for condition = 1:numel(shown)
    single.Sess.U(condition).ons = onsets{{run, shown(condition)}};
    single.Sess.U(condition).dur = durations{{run, shown(condition)}};
  end
  response = spm_Volterra(spm_get_ons(single, 1), SPM.xBF.bf, 1);
  SPM.xX.X(rows, 1:numel(SPM.Sess.U)) = 0;
  SPM.xX.X(rows, shown) = response((0:numel(rows) - 1) * SPM.xBF.T + SPM.xBF.T0 + 32, :);
end
save('{spm_mat}', 'SPM', spm_get_defaults('mat.format'));
"""


def export(spm_mat: Path, target: Path) -> str:
    """Statements that write what `read_model` reads."""
    return f"""\
load('{spm_mat}');
names = SPM.xX.name; X = SPM.xX.X; whitened = full(SPM.xX.xKXs.X);
filters = arrayfun(@(K) full(K.X0), SPM.xX.K, 'UniformOutput', false);
save('{target}', 'names', 'X', 'whitened', 'filters', '-v6');
"""


def read_model(path: Path) -> EstimatedModel:
    """Read what `export` wrote.

    Raises
    ------
    StepError
        If a condition has next to no response within its runs, or columns cannot be told apart.
    """
    content = loadmat(path)
    model = EstimatedModel(
        names=tuple(str(name.item()) for name in content["names"].ravel()),
        design=np.asarray(content["X"], dtype=np.float64),
        whitened=np.asarray(content["whitened"], dtype=np.float64),
        filters=tuple(np.asarray(part, dtype=np.float64) for part in content["filters"].ravel()),
    )
    _check(model)
    return model


def information(model: EstimatedModel, session: int) -> pd.DataFrame:
    """Information of a session about the betas of its conditions.

    `design.information_of` the whitened and filtered columns.
    """
    conditions = model.conditions(session)
    nuisance = [index for index in model.of_session(session) if index not in conditions.values()]
    of_interest = model.whitened[:, list(conditions.values())]
    return information_of(list(conditions), of_interest, model.whitened[:, nuisance])


def run_design(model: EstimatedModel, number: int, n_volumes: Sequence[int]) -> pd.DataFrame:
    """Give the design of one run: its rows, and the columns that are not empty there.

    Parameters
    ----------
    model : EstimatedModel
    number : int
        Of the run, counted from 1.
    n_volumes : sequence of int
        Of all runs.
    """
    start = sum(n_volumes[: number - 1])
    rows = model.design[start : start + n_volumes[number - 1]]
    # Runs that are concatenated are all of the first session.
    session = number if model.of_session(number) else 1
    conditions = {index: column for column, index in model.conditions(session).items()}
    columns = {}
    for index in np.flatnonzero(np.abs(rows).max(axis=0) > 0).tolist():
        # Motion is centred over all scans, so that a run's column is constant in the others.
        if index not in conditions and np.ptp(rows[:, index]) == 0:
            continue
        name = conditions.get(index, re.sub(r"^Sn\(\d+\) (run\d+_)?", "", model.names[index]))
        columns[name] = rows[:, index]
    for cosine, values in enumerate(model.filters[number - 1].T, start=1):
        columns[f"drift_{cosine}"] = values
    columns["constant"] = np.ones(len(rows))
    return pd.DataFrame(columns)


def escaped(column: str) -> str:
    """Name of a condition in SPM, where a quote or a blank would not do: as in a URL."""
    return quote(column, safe=":+").replace("~", "%7E")


def _check(model: EstimatedModel) -> None:
    conditions = {
        index: match.group(2)
        for index, match in enumerate(map(_CONDITION.fullmatch, model.names))
        if match is not None
    }
    lengths = np.linalg.norm(model.design[:, list(conditions)], axis=0)
    is_stimulus = np.array([name.startswith("stimulus:") for name in conditions.values()])
    for name, length, stimulus in zip(conditions.values(), lengths, is_stimulus, strict=True):
        if length <= _SHORTEST_REGRESSOR * lengths[is_stimulus == stimulus].max():
            raise StepError(
                f"The events of '{unquote(name)}' leave no response within their runs: compare "
                "the onsets (seconds) in the events files with the length of the BOLD runs."
            )
    rank = int(np.linalg.matrix_rank(model.whitened))
    if rank < model.whitened.shape[1]:
        raise StepError(
            f"SPM's design has {model.whitened.shape[1]} columns of rank {rank}, so betas cannot "
            "be estimated separately: check the events, or choose the implicit baseline."
        )
