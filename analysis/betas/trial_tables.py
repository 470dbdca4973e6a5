"""Tables that say which stimulus each trial, or each condition of a design, was."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import SUBJECT_PLACE, clean_name, some_of
from conceptrsa.bids_config.tsv import MISSING, read_table

REMEDY = "give a column stimulus and, if there is a row per condition, a column condition (from 1)"


@dataclass(frozen=True)
class TrialTable:
    """Names of trials or of conditions.

    Attributes
    ----------
    file : Path
    stimuli : tuple of str
    conditions : tuple of int or None
        Number, from 1, of the condition that each name is of; None: a name per trial, in order.
    sessions : tuple of str or None
        Of each trial, where the table has them.
    """

    file: Path
    stimuli: tuple[str, ...]
    conditions: tuple[int, ...] | None
    sessions: tuple[str, ...] | None

    def names_of(self, order: Sequence[int], source: Path) -> tuple[str, ...]:
        """Give the name of each trial from the number, from 1, of its condition.

        Raises
        ------
        InputError
            On a condition without a name.
        """
        assert self.conditions is not None
        names = dict(zip(self.conditions, self.stimuli, strict=True))
        for condition in order:
            if condition not in names:
                raise InputError(
                    f"{self.file} has no condition {condition}, but {source} has trials of it: add "
                    "a row for each column of the design, numbered from 1"
                )
        return tuple(names[condition] for condition in order)


def read_trial_table(given: Path, subject: str) -> TrialTable:
    """Read the table of a subject, TSV or CSV.

    Its column stimulus names each trial in the order of presentation, or, beside the column
    condition, each condition of the design. A column session says which trials are of one scan
    session, and a column subject whose trials they are; all others are passed over.

    Parameters
    ----------
    given : Path
        `{subject}` in it stands for the subject's label without `sub-`.
    subject : str
        As in `sub-01`.

    Raises
    ------
    InputError
        On a table without the column, without a row of the subject, or with an empty cell.
    """
    label = subject.removeprefix("sub-")
    file = Path(str(given).replace(SUBJECT_PLACE, label))
    table = read_table(file)
    table.require_columns(["stimulus"], REMEDY)
    if {"condition", "session"} <= {*table.columns}:
        raise InputError(
            f"{file} has the columns condition and session, but a condition belongs to no session: "
            "give a row per trial without a column condition, or remove the column session"
        )
    rows = list(range(len(table.rows)))
    there = ""
    if "subject" in table.columns:
        labels = [clean_name(cell).removeprefix("sub-") for cell in table.column("subject")]
        rows = [row for row in rows if labels[row] == label]
        there = f" (its subjects are {some_of(list(dict.fromkeys(labels)))})"
    if not rows:
        raise InputError(
            f"{file} holds no row of {subject}{there}: add a row per trial or condition"
        )

    def column(name: str) -> tuple[str, ...]:
        cells = table.column(name)
        for row in rows:
            if cells[row] in ("", MISSING):
                raise InputError(f"{file}, line {table.lines[row]} has no {name}: add it")
        return tuple(cells[row] for row in rows)

    conditions = None
    if "condition" in table.columns:
        conditions = tuple(_whole_number(file, cell) for cell in column("condition"))
        if len(set(conditions)) < len(conditions):
            raise InputError(
                f"{file} names a condition more than once: keep one row of each, or give a row per "
                "trial without a column condition"
            )
    sessions = column("session") if "session" in table.columns else None
    return TrialTable(file, column("stimulus"), conditions, sessions)


def _whole_number(file: Path, cell: str) -> int:
    if not cell.isdecimal() or cell == "0":
        raise InputError(f"{file} has the condition {cell!r}: number conditions from 1")
    return int(cell)
