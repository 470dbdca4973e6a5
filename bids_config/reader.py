"""The configuration of a data set, from a TOML file; every mistake becomes one sentence."""

import csv
import io
from pathlib import Path

from bids_config.errors import InputError
from bids_config.schema import DatasetConfig
from bids_config.tables import did_you_mean, read_table, read_toml

PACKAGED_FOLDER = Path(__file__).resolve().parent
LABEL_COLUMNS = ("stimulus", "label")


def packaged_configs() -> tuple[str, ...]:
    """Names of the configurations that come with the tool."""
    return tuple(sorted(path.stem for path in PACKAGED_FOLDER.glob("*.toml")))


def load_dataset_config(name_or_path: str | Path) -> DatasetConfig:
    """Read the configuration of a data set.

    Parameters
    ----------
    name_or_path : str or Path
        The name of a packaged configuration (`ds001246`, `demo`) or the path of a TOML file.

    Returns
    -------
    DatasetConfig
        The configuration, with absolute paths.

    Raises
    ------
    InputError
        When there is no such file, it is no TOML, or a key or value is not allowed; the message
        names the file, the key and what is allowed.
    """
    file = _find(name_or_path)
    table = read_toml(file)
    try:
        config = read_table(DatasetConfig, table, folder=file.parent)
        _check_labels_file(config.stimuli.labels_file)
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    return config


def _find(name_or_path: str | Path) -> Path:
    name = str(name_or_path)
    if name in packaged_configs():
        return PACKAGED_FOLDER / f"{name}.toml"
    file = Path(name_or_path)
    if not file.is_file():
        raise InputError(
            f"no data set configuration {name!r}{did_you_mean(name, packaged_configs())}: "
            f"give one of the packaged names ({', '.join(packaged_configs())}) or the path of a "
            "TOML file"
        )
    return file.resolve()


def _check_labels_file(file: Path | None) -> None:
    """Raise unless the label table is there, has its columns and labels each stimulus once."""
    if file is None:
        return
    if not file.is_file():
        raise InputError(f"stimuli.labels_file = {str(file)!r} does not exist: check the path")
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"stimuli.labels_file = {str(file)!r} is not UTF-8 text") from error
    with io.StringIO(text, newline="") as lines:
        table = csv.DictReader(lines, delimiter="\t")
        columns = tuple(table.fieldnames or ())
        if not set(LABEL_COLUMNS) <= set(columns):
            raise InputError(
                f"stimuli.labels_file = {str(file)!r} must have the tab-separated columns "
                f"{' and '.join(LABEL_COLUMNS)}, it has {', '.join(columns) or 'none'}"
            )
        rows = list(table)
    stimuli = [row["stimulus"] for row in rows]
    if not rows or not all(row["stimulus"] and row["label"] for row in rows):
        raise InputError(
            f"stimuli.labels_file = {str(file)!r} must give every stimulus an id and a label"
        )
    if len(set(stimuli)) < len(stimuli):
        raise InputError(f"stimuli.labels_file = {str(file)!r} names a stimulus twice")
