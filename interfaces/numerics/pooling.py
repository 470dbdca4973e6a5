"""One beta per stimulus from all runs of a subject, and from the odd and the even ones.

Both ways of pooling are a weighted sum over runs and conditions, and unbiased:

- The mean weighs every run the same. It is poor where a stimulus is shown once a run: slow
  patterns of betas over a run then look like drift, the high-pass filter leaves a few directions
  of a run's betas almost undetermined, and their noise goes into the mean.
- The joint estimate weighs the betas b of run r by the information I of its design,
  ``(sum_r I_r)^-1 sum_r I_r b_r``. With white noise that is least squares on all runs at once: one
  regressor per condition over the concatenated runs; drift, motion and constant per run. What is
  undetermined in one run is taken from those that show the stimuli in another order.
"""

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptrsa.bids_config.errors import StepError
from conceptrsa.bids_config.tsv import read_table
from conceptrsa.bids_config.writing import atomic_path
from conceptrsa.interfaces.numerics.design import column_name
from conceptrsa.interfaces.numerics.glm import same_grid

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunConditions:
    """Conditions of one run, in the order of its betas.

    Attributes
    ----------
    columns : tuple of str
        Design column of each.
    stimuli : frozenset of str
        Ids of the stimuli among them.
    information : array, shape (conditions, conditions), or None
        Of the run's design; None to pool by the mean.
    """

    columns: tuple[str, ...]
    stimuli: frozenset[str]
    information: NDArray[np.float64] | None

    @property
    def weight(self) -> NDArray[np.float64]:
        """The information; with the identity in its place the joint estimate is the mean."""
        return np.eye(len(self.columns)) if self.information is None else self.information


@dataclass(frozen=True)
class RunBetas(RunConditions):
    """Betas of one run on disk.

    Attributes
    ----------
    image : nib.Nifti1Image
        4D, not yet read; a volume a condition.
    """

    image: nib.Nifti1Image


def read_run_conditions(
    conditions_files: Sequence[str | Path], information_files: Sequence[str | Path] = ()
) -> list[RunConditions]:
    """Read which condition each beta of each run is of.

    Parameters
    ----------
    conditions_files : sequence of path
        One a run, columns volume, condition, kind.
    information_files : sequence of path
        The information matrices of the designs; none to pool by the mean.

    Raises
    ------
    StepError
        When a table does not name each volume once, or a matrix has other conditions.
    """
    runs = []
    matrices: Sequence[str | Path | None] = information_files or [None] * len(conditions_files)
    for conditions_file, matrix in zip(conditions_files, matrices, strict=True):
        table = read_table(conditions_file).frame(texts=["condition", "kind"])
        table = table.sort_values("volume")
        columns = tuple(map(column_name, table["condition"], table["kind"]))
        if list(table["volume"]) != list(range(len(set(columns)))):
            raise _unfit(conditions_file)
        stimuli = frozenset(table.loc[table["kind"] == "stimulus", "condition"])
        information = None if matrix is None else _information(matrix, columns)
        runs.append(RunConditions(columns, stimuli, information))
    return runs


def read_run_betas(
    betas_files: Sequence[str | Path],
    conditions_files: Sequence[str | Path],
    information_files: Sequence[str | Path] = (),
) -> tuple[RunBetas, ...]:
    """Open the betas of all runs of a subject.

    Parameters
    ----------
    betas_files : sequence of path
        4D NIfTI, one per run, in run order.
    conditions_files, information_files
        As for `read_run_conditions`.

    Returns
    -------
    tuple of RunBetas

    Raises
    ------
    StepError
        When a table does not fit its image, or the runs lie in different grids.
    """
    runs: list[RunBetas] = []
    read = read_run_conditions(conditions_files, information_files)
    for run, betas_file, conditions_file in zip(read, betas_files, conditions_files, strict=True):
        image = nib.load(betas_file)
        if image.ndim != 4 or image.shape[3] != len(run.columns):
            raise _unfit(conditions_file)
        if runs and not same_grid(image, runs[0].image):
            raise StepError(
                f"The betas {betas_file} and {betas_files[0]} are in different grids: realign and "
                "resample runs together before pooling."
            )
        runs.append(RunBetas(run.columns, run.stimuli, run.information, image))
    return tuple(runs)


def stimuli_table(runs: Sequence[Collection[str]]) -> pd.DataFrame:
    """Volumes of pooled betas: stimuli by id, and in how many runs each was shown.

    Parameters
    ----------
    runs : sequence of collection of str
        Stimuli of each run, in run order.

    Returns
    -------
    pd.DataFrame
        Columns volume, stimulus, n_runs, n_runs_odd, n_runs_even; one row per volume.

    Raises
    ------
    StepError
        When no run has a stimulus.
    """
    stimuli = sorted(set().union(*runs))
    if not stimuli:
        raise StepError("No run has a beta of a stimulus: check the events of this subject.")
    table = {"volume": range(len(stimuli)), "stimulus": stimuli}
    parts = {"n_runs": runs, "n_runs_odd": runs[0::2], "n_runs_even": runs[1::2]}
    for name, part in parts.items():
        table[name] = [sum(stimulus in run for run in part) for stimulus in stimuli]
    return pd.DataFrame(table)


def pool_betas(
    runs: Sequence[RunBetas], pooled_file: Path, odd_file: Path, even_file: Path
) -> pd.DataFrame:
    """Write the betas of each stimulus from all, odd (1st, 3rd, ...) and even runs.

    Stimuli are matched by name. A run without the stimulus does not count; a stimulus in none of
    the runs is NaN, and so is a voxel without signal in one of them.

    Parameters
    ----------
    runs : sequence of RunBetas
        In run order.
    pooled_file, odd_file, even_file : Path
        Uncompressed 4D NIfTI to write, float32, one volume a stimulus sorted by id.

    Returns
    -------
    pd.DataFrame
        As `stimuli_table`.

    Raises
    ------
    StepError
        When no run has a stimulus.
    """
    table = stimuli_table([run.stimuli for run in runs])
    if len(runs) == 1:
        logger.warning("There is only one run: the betas of the even runs are all missing.")
    for path, part in ((pooled_file, runs), (odd_file, runs[0::2]), (even_file, runs[1::2])):
        weights = pooling_weights(part, table["stimulus"])
        _write_weighted_sum(path, runs[0].image, len(table), part, weights)
    return table


def pooling_weights(
    runs: Sequence[RunConditions], stimuli: Iterable[str]
) -> tuple[NDArray[np.float64], ...]:
    """Weigh each run's betas in the pooled beta of each stimulus.

    Parameters
    ----------
    runs : sequence of RunConditions
    stimuli : iterable of str

    Returns
    -------
    tuple of array, shape (stimuli, conditions of the run)
        NaN in the row of a stimulus that no run has.
    """
    columns = sorted({column for run in runs for column in run.columns})
    members = [[columns.index(column) for column in run.columns] for run in runs]
    total = np.zeros((len(columns), len(columns)))
    for run, member in zip(runs, members, strict=True):
        total[np.ix_(member, member)] += run.weight
    rows = [column_name(stimulus, "stimulus") for stimulus in stimuli]
    present = [row in columns for row in rows]
    chosen = [columns.index(row) for row in rows if row in columns]

    inverse = np.linalg.inv(total)
    weights = []
    for run, member in zip(runs, members, strict=True):
        weight = np.full((len(rows), len(member)), np.nan)
        weight[present] = inverse[np.ix_(chosen, member)] @ run.weight
        weights.append(weight)
    return tuple(weights)


def _unfit(conditions_file: str | Path) -> StepError:
    return StepError(
        f"{conditions_file} does not list each volume of its run's betas once: run the participant "
        "level again."
    )


def _information(information_file: str | Path, columns: Sequence[str]) -> NDArray[np.float64]:
    table = read_table(information_file).frame(texts=["condition"]).set_index("condition")
    if set(table.columns) != set(columns) or list(table.index) != list(table.columns):
        raise StepError(
            f"{information_file} does not have the conditions of its run's betas: run the "
            "participant level again."
        )
    return table.loc[list(columns), list(columns)].to_numpy(dtype=np.float64)


def _write_weighted_sum(
    path: Path,
    grid: nib.Nifti1Image,
    n_stimuli: int,
    runs: Sequence[RunBetas],
    weights: Sequence[NDArray[np.float64]],
) -> None:
    """Write the sum over runs of weights @ betas; NaN where there is no run, or it has no betas.

    Slice by slice from and to memory-mapped files, so that neither the runs nor the result need
    be in memory.
    """
    shape = (*grid.shape[:3], n_stimuli)
    header = grid.header.copy()
    header.set_data_shape(shape)
    header.set_data_dtype(np.float32)
    header.set_slope_inter(1.0, 0.0)
    with atomic_path(path) as temporary:
        with temporary.open("wb") as file:
            header.write_to(file)
        written = np.memmap(
            temporary,
            dtype=header.get_data_dtype(),
            mode="r+",
            offset=int(header.get_data_offset()),
            shape=shape,
            order="F",
        )
        for z in range(shape[2]):
            # Mapped anew for each slice, so that pages already read can go.
            betas = [np.asanyarray(run.image.dataobj)[:, :, z, :] for run in runs]
            total = np.full((*shape[:2], n_stimuli), np.nan)
            if betas:
                inside = np.isfinite(betas[0][..., 0])
                total[inside] = sum(
                    values[inside].astype(np.float64) @ weight.T
                    for values, weight in zip(betas, weights, strict=True)
                )
            written[:, :, z, :] = total
        written.flush()
