"""The design matrix of one run: what the GLM explains the signal by."""

import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptrsa.bids_config.errors import StepError

MOTION_PARAMETERS = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
KINDS = ("stimulus", "fixation", "one-back")

# Width of the bins in which events are convolved with the HRF, s (SPM12: TR/16).
_BIN_SECONDS = 0.03
# A shorter regressor than this share of the longest has (nearly) no volume after its onset; its
# beta would be noise, some hundred times larger than the others, in the mean over runs.
_SHORTEST_REGRESSOR = 0.01
# Unit-length columns whose matrix has a larger condition number than this are taken for collinear:
# half the digits of a float64 would be lost.
_LARGEST_CONDITION_NUMBER = 1e8


@dataclass(frozen=True)
class Condition:
    """One regressor of interest of a run.

    Attributes
    ----------
    column : str
        Its column in the design matrix; `stimulus:` goes before the id of a stimulus, so that no
        id can be mistaken for a nuisance column.
    name : str
        Stimulus id, `fixation` or `one-back`.
    kind : {'stimulus', 'fixation', 'one-back'}
    n_events : int
        Events of the run that went into it.
    """

    column: str
    name: str
    kind: str
    n_events: int


@dataclass(frozen=True)
class RunDesign:
    """Design matrix of one run.

    Attributes
    ----------
    matrix : pd.DataFrame
        (volumes, regressors), the index is the time of each volume in seconds.
    conditions : tuple of Condition
        Stimuli sorted by id, then fixation and one-back where the run models them.
    condition_number : float
        Largest by smallest singular value of the matrix with its columns scaled to unit length.
    """

    matrix: pd.DataFrame
    conditions: tuple[Condition, ...]
    condition_number: float

    def information(self) -> pd.DataFrame:
        """Compute how well the run determines the betas of its conditions; `information_of`."""
        columns = [condition.column for condition in self.conditions]
        nuisance = self.matrix.drop(columns=columns).to_numpy()
        return information_of(columns, self.matrix[columns].to_numpy(), nuisance)


def information_of(
    columns: list[str], of_interest: NDArray[np.float64], nuisance: NDArray[np.float64]
) -> pd.DataFrame:
    """Compute how well a design determines the betas of its columns of interest together.

    Parameters
    ----------
    columns : sequence of str
        Names of the columns of interest.
    of_interest : array, shape (volumes, conditions)
        A.
    nuisance : array, shape (volumes, others)
        B.

    Returns
    -------
    pd.DataFrame
        (conditions, conditions), the inverse of the betas' covariance under white noise of unit
        variance: ``A' (I - B B^+) A``.
    """
    basis, _ = np.linalg.qr(nuisance)
    remainder = of_interest - basis @ (basis.T @ of_interest)
    return pd.DataFrame(remainder.T @ remainder, index=columns, columns=columns)


def make_run_design(
    events: pd.DataFrame,
    motion: NDArray[np.float64],
    repetition_time: float,
    *,
    slice_time_reference: float = 0.5,
    hrf: str = "spm",
    high_pass_seconds: float = 128.0,
    baseline: str = "explicit",
) -> RunDesign:
    """Build the design matrix of one run.

    One regressor per stimulus, one for all fixation periods and one for all one-back events, each
    the events' boxcars convolved with the HRF; the motion parameters about their mean; discrete
    cosines slower than the high-pass cut-off; a constant.

    Parameters
    ----------
    events : pd.DataFrame
        Columns onset (s), duration (s), condition, kind (`stimulus`, `fixation` or `one-back`).
    motion : array, shape (volumes, 6)
        Translations x y z in mm, rotations x y z in rad.
    repetition_time : float
        In seconds.
    slice_time_reference : float
        Moment that the volumes stand for, as a fraction of the repetition time; 0.5 after slice
        timing correction to TR/2. In SPM's terms microtime onset bin 16 * 0.5 + 1 = 9.
    hrf : {'spm', 'glover'}
        Haemodynamic response function: SPM's canonical double gamma, or Glover's.
    high_pass_seconds : float
        Longest period that stays in the data, in seconds.
    baseline : {'explicit', 'implicit'}
        With or without a regressor for the fixation periods.

    Returns
    -------
    RunDesign

    Raises
    ------
    StepError
        When columns are empty or collinear, or are as many as the volumes.
    """
    n_volumes = len(motion)
    frame_times = repetition_time * (np.arange(n_volumes) + slice_time_reference)
    modelled = events if baseline == "explicit" else events[events["kind"] != "fixation"]
    conditions = _conditions(modelled)
    cosines = n_cosines(n_volumes, repetition_time, high_pass_seconds)
    centred = pd.DataFrame(motion - motion.mean(axis=0), columns=list(MOTION_PARAMETERS))
    matrix = _unchecked_matrix(
        frame_times=frame_times,
        events=_convolution_events(modelled, repetition_time),
        hrf_model=hrf,
        oversampling=_oversampling(repetition_time),
        drift_model="cosine",
        # In Hz, half-way between two cosines, so that rounding cannot lose or add one.
        high_pass=(cosines + 0.5) / (2 * n_volumes * repetition_time),
        # A parameter that never changes would repeat the constant.
        add_regs=centred.loc[:, np.ptp(motion, axis=0) > 0],
    )
    of_interest = [condition.column for condition in conditions]
    matrix = matrix[of_interest + [name for name in matrix.columns if name not in of_interest]]
    _check_responses(matrix[of_interest])
    return RunDesign(matrix, conditions, _checked_condition_number(matrix))


def column_name(name: str, kind: str) -> str:
    """Name the design column of a condition.

    Parameters
    ----------
    name : str
        Stimulus id; of no meaning for the other kinds, which have one column each.
    kind : {'stimulus', 'fixation', 'one-back'}

    Returns
    -------
    str
    """
    return f"stimulus:{name}" if kind == "stimulus" else kind


def n_cosines(n_volumes: int, repetition_time: float, high_pass_seconds: float) -> int:
    """Count the cosine regressors of a high-pass filter as SPM12 does.

    Parameters
    ----------
    n_volumes : int
    repetition_time, high_pass_seconds : float
        In seconds.

    Returns
    -------
    int
        `fix(2 * n_volumes * TR / cut-off + 1)` of `spm_filter`, without its constant.
    """
    return int(2 * (n_volumes * repetition_time) / high_pass_seconds + 1) - 1


def _conditions(events: pd.DataFrame) -> tuple[Condition, ...]:
    counts: dict[tuple[int, str], int] = {}
    for name, kind in zip(events["condition"], events["kind"], strict=True):
        key = (KINDS.index(kind), name if kind == "stimulus" else kind)
        counts[key] = counts.get(key, 0) + 1
    return tuple(
        Condition(column_name(name, KINDS[order]), name, KINDS[order], counts[order, name])
        for order, name in sorted(counts)
    )


def _oversampling(repetition_time: float) -> int:
    return math.ceil(repetition_time / _BIN_SECONDS)


def _convolution_events(events: pd.DataFrame, repetition_time: float) -> pd.DataFrame:
    """Events as nilearn reads them.

    An event without duration becomes a stick of unit area, as in `spm_get_ons`, so that its beta
    does not depend on the bin width.
    """
    bin_seconds = repetition_time / _oversampling(repetition_time)
    columns = list(map(column_name, events["condition"], events["kind"]))
    table = pd.DataFrame(
        {
            "onset": events["onset"].to_numpy(float),
            "duration": events["duration"].to_numpy(float),
            "trial_type": columns,
        }
    )
    stick = table["duration"] == 0
    return table.assign(modulation=np.where(stick, 1 / bin_seconds, 1.0)) if stick.any() else table


def _unchecked_matrix(**arguments: object) -> pd.DataFrame:
    """Nilearn's design matrix, without its warnings about what is dealt with here."""
    # Here, as it takes seconds to import, and checks of the input import this module.
    from nilearn.glm.first_level import make_first_level_design_matrix

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Matrix is singular")
        warnings.filterwarnings("ignore", message=r"(?s).*null duration")
        return pd.DataFrame(make_first_level_design_matrix(**arguments))


def _check_responses(regressors: pd.DataFrame) -> None:
    lengths = np.linalg.norm(regressors.to_numpy(), axis=0)
    empty = regressors.columns[lengths <= _SHORTEST_REGRESSOR * lengths.max(initial=0.0)]
    if len(empty):
        raise StepError(
            f"The events of {_listed(empty)} leave no response within the {len(regressors)} "
            "volumes of the run: compare the onsets (seconds) in its events file with the length "
            "of its BOLD, and leave out events after the end."
        )


def _checked_condition_number(matrix: pd.DataFrame) -> float:
    n_volumes, n_columns = matrix.shape
    if n_columns >= n_volumes:
        raise StepError(
            f"The design matrix has {n_columns} columns for {n_volumes} volumes: "
            "the run is too short to estimate a beta for each stimulus."
        )
    unit_length = matrix.to_numpy() / np.linalg.norm(matrix.to_numpy(), axis=0)
    _, singular_values, directions = np.linalg.svd(unit_length, full_matrices=False)
    condition_number = float(singular_values[0] / max(singular_values[-1], np.finfo(float).tiny))
    if condition_number > _LARGEST_CONDITION_NUMBER:
        weights = np.abs(directions[-1])
        collinear = matrix.columns[weights > 0.1 * weights.max()]
        raise StepError(
            f"The design columns {_listed(collinear)} are collinear, so their betas cannot be "
            "estimated separately: check the run's events, or choose the implicit baseline."
        )
    return condition_number


def _listed(names: Iterable[str], most: int = 6) -> str:
    quoted = [f"'{name}'" for name in names]
    more = f" and {len(quoted) - most} more" if len(quoted) > most else ""
    return ", ".join(quoted[:most]) + more
