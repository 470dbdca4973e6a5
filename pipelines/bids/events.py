"""From a BIDS events file to the conditions of the model, matched by name, never by position."""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import (
    READ_AS_MISSING,
    clean_name,
    did_you_mean,
    in_quotes,
    require_distinguishable,
    require_one_spelling,
    stimulus_id,
    stimulus_path,
    warn_of_case,
    warn_once,
)
from conceptrsa.bids_config.schema import EventsConfig
from conceptrsa.bids_config.tsv import MISSING, read_table, write_table

STIMULUS = "stimulus"
FIXATION = "fixation"
ONE_BACK = "one-back"
IGNORED = "ignored"
N_NAMELESS = "n_nameless"
"""Attribute of an events table: rows that were left out because they name no stimulus."""
STIM_FILE = "stim_file"
"""BIDS' own column for the path of what was shown."""
WAY_OUT = (
    "name a condition_column in the data set configuration that tells them apart (folders count "
    f"except in {STIM_FILE}), or write each stimulus in one way"
)
COLUMNS = ("onset", "duration", "condition", "kind")


def read_run_events(events_file: Path, config: EventsConfig) -> pd.DataFrame:
    """Read the events of one run.

    Parameters
    ----------
    events_file : Path
        A BIDS events table (tab-separated).
    config : EventsConfig
        Meaning of its columns and values.

    Returns
    -------
    DataFrame
        In order of onset: onset (s), duration (s), condition (stimulus id, 'fixation' or
        'one-back'), kind ('stimulus', 'fixation' or 'one-back') and written (what the file says
        in place of the condition, paths in one way).

    Raises
    ------
    InputError
        When the file cannot be read, a column or a name is missing, an event type is not in the
        configuration, a time is no number, or a duration is negative.
    """
    table = _read_texts(events_file, config)
    kind = _kinds(table, config, events_file)
    n_nameless = int((kind == IGNORED).sum()) if config.type_column is None else 0
    table, kind = table[kind != IGNORED], kind[kind != IGNORED]
    onset = _read_seconds(table["onset"], events_file)
    duration = _read_seconds(table["duration"], events_file)
    if (duration < 0).any():
        raise InputError(
            f"{events_file} has a negative duration in line {_first_line(duration < 0)}: correct it"
        )
    is_file = config.condition_column == STIM_FILE
    written = table[config.condition_column].map(partial(stimulus_path, is_file=is_file))
    is_stimulus = kind == STIMULUS
    condition = written.map(partial(stimulus_id, is_file=is_file)).where(is_stimulus, FIXATION)
    _check_stimulus_names(condition[is_stimulus], config, events_file)
    require_one_spelling(
        zip(written[is_stimulus], condition[is_stimulus], strict=True), events_file, WAY_OUT
    )

    events = pd.DataFrame(
        {
            "onset": onset,
            "duration": duration,
            "condition": condition,
            "kind": kind,
            "written": written,
        }
    ).iloc[np.argsort(onset.to_numpy(), kind="stable")]
    events.loc[_one_backs(events, table, config), ["condition", "kind"]] = ONE_BACK
    if not (events["kind"] == STIMULUS).any():
        raise InputError(
            f"{events_file} holds no stimulus event: check the file and the data set configuration"
        )
    events = events.reset_index(drop=True)
    events.attrs[N_NAMELESS] = n_nameless
    return events


def write_run_events(events: pd.DataFrame, events_file: Path) -> None:
    """Write a table of `read_run_events` as a tab-separated file."""
    write_table(events_file, events[list(COLUMNS)])


def count_presentations(runs: Iterable[pd.DataFrame]) -> dict[str, int]:
    """Count how often each stimulus is shown in tables of `read_run_events`, sorted by its id.

    One-back events do not count.
    """
    presentations: Counter[str] = Counter()
    for events in runs:
        presentations.update(events.loc[events["kind"] == STIMULUS, "condition"])
    return dict(sorted(presentations.items()))


def check_names(runs: Sequence[pd.DataFrame], source: Path) -> None:
    """Check the stimulus names of all runs of a data set together, and say what has none.

    Parameters
    ----------
    runs : sequence of DataFrame
        Tables of `read_run_events`.
    source : Path
        The data set, for messages.

    Raises
    ------
    InputError
        On two spellings of one stimulus, or two stimuli that look the same. Names that differ in
        case only are warned of.
    """
    nameless = [events.attrs.get(N_NAMELESS, 0) for events in runs]
    if any(nameless):
        warn_once(
            f"{sum(nameless)} events in {sum(map(bool, nameless))} of {len(runs)} runs in {source} "
            f"have {MISSING} in place of a stimulus and are left out"
        )
    spellings = {
        (written, condition)
        for events in runs
        for written, condition, kind in zip(
            events["written"], events["condition"], events["kind"], strict=True
        )
        if kind == STIMULUS
    }
    require_one_spelling(sorted(spellings), source, WAY_OUT)
    names = sorted({condition for _, condition in spellings})
    require_distinguishable(names, "stimulus", source)
    warn_of_case(names, "stimulus", source)


def check_events_fit_run(
    events: pd.DataFrame, run_duration: float, events_file: Path, tolerance: float = 0.0
) -> None:
    """Raise when events lie beyond the end of their run.

    Parameters
    ----------
    events : DataFrame
        Table of `read_run_events`.
    run_duration : float
        Volumes times TR (s).
    events_file : Path
        Named in the message.
    tolerance : float
        Seconds by which the last event may exceed the end; no onset may lie beyond it.

    Raises
    ------
    InputError
        When an onset lies at or past the end of the run, or an event ends past it.
    """
    last_onset = float(events["onset"].max())
    last_end = float((events["onset"] + events["duration"]).max())
    if last_onset >= run_duration or last_end > run_duration + tolerance:
        raise InputError(
            f"{events_file} has events until {last_end:g} s (last onset {last_onset:g} s) but its "
            f"run ends after {run_duration:g} s: check that the run is complete, and that these "
            "are its events, in seconds"
        )


def _read_texts(events_file: Path, config: EventsConfig) -> pd.DataFrame:
    """Take every cell as text, so that no id is turned into a number; the index is the line."""
    optional = (config.type_column, config.one_back.column)
    named = [column for column in optional if column is not None]
    columns = list(dict.fromkeys(["onset", "duration", config.condition_column, *named]))
    table = read_table(events_file)
    table.require_columns(
        columns, "correct it, or name the right column in the data set configuration"
    )
    if not table.rows:
        raise InputError(f"{events_file} has column names but no events: restore it")
    return table.frame()[columns]


def _kinds(table: pd.DataFrame, config: EventsConfig, events_file: Path) -> pd.Series:
    """Tell stimuli, fixation and what is ignored apart."""
    if config.type_column is None:  # n/a is how BIDS says that no stimulus was shown
        is_nameless = table[config.condition_column] == MISSING
        return pd.Series(STIMULUS, index=table.index).mask(is_nameless, IGNORED)
    meanings = {
        **dict.fromkeys(config.stimulus_types, STIMULUS),
        **dict.fromkeys(config.fixation_types, FIXATION),
        **dict.fromkeys(config.ignored_types, IGNORED),
    }
    types = table[config.type_column].map(clean_name)
    unknown = ~types.isin(list(meanings))
    if unknown.any():
        first = str(types[unknown].iloc[0])
        raise InputError(
            f"{events_file} has {config.type_column} {first!r} in line {_first_line(unknown)}, "
            f"which the data set configuration does not list{did_you_mean(first, meanings)}: it "
            f"must be one of {', '.join(meanings)} (or add it to ignored_types)"
        )
    return types.map(meanings)


def _read_seconds(texts: pd.Series, events_file: Path) -> pd.Series:
    seconds = pd.to_numeric(texts, errors="coerce")
    wrong = ~np.isfinite(seconds)
    if wrong.any():
        raise InputError(
            f"{events_file} has {texts.name} {texts[wrong].iloc[0]!r} in line "
            f"{_first_line(wrong)}: it must be a number of seconds: correct the row, or add its "
            "type to ignored_types in the data set configuration"
        )
    return seconds.astype(float)


def _check_stimulus_names(names: pd.Series, config: EventsConfig, events_file: Path) -> None:
    quoted = in_quotes(list(names))
    wrong = names.isin([*READ_AS_MISSING, FIXATION, ONE_BACK, quoted])
    if wrong.any():
        name = names[wrong].iloc[0]
        of_none = (
            f" (BIDS writes {MISSING} for none)" if name in READ_AS_MISSING - {MISSING} else ""
        )
        raise InputError(
            f"{events_file} has a stimulus whose {config.condition_column} is {name!r} in line "
            f"{_first_line(wrong)}: give it its stimulus id{', without quotes' if quoted else ''}"
            f"{of_none}"
        )


def _one_backs(events: pd.DataFrame, table: pd.DataFrame, config: EventsConfig) -> pd.Series:
    """Mark the one-back events among events in order of onset."""
    stimuli = events.loc[events["kind"] == STIMULUS, "condition"]
    match config.one_back.rule:
        case "repeat":
            marked = stimuli == stimuli.shift()
        case "column":
            assert config.one_back.column is not None
            noted = table.loc[stimuli.index, config.one_back.column]
            marked = noted.map(clean_name).isin(config.one_back.values)
        case "none":
            marked = pd.Series(False, index=stimuli.index)
    return marked.reindex(events.index, fill_value=False)


def _first_line(rows: pd.Series) -> int:
    """Line in the file, counted from 1, of the first row that is true."""
    return int(rows.index.to_numpy()[rows.to_numpy().argmax()])
