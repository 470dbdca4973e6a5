"""The configuration of a data set, from a TOML file; every mistake becomes one sentence."""

from pathlib import Path

from conceptrsa.bids_config import tsv
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import require_no_quotes, stimulus_ids
from conceptrsa.bids_config.schema import DatasetConfig
from conceptrsa.bids_config.toml_tables import did_you_mean, read_table, read_toml

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
    table = tsv.read_table(file)
    table.require_columns(LABEL_COLUMNS, "name the tab-separated columns so")
    require_no_quotes(table.column("label"), file)
    stimuli = stimulus_ids(table.column("stimulus"), file)
    if not table.rows or not all((*stimuli, *table.column("label"))):
        raise InputError(
            f"stimuli.labels_file = {str(file)!r} must give every stimulus an id and a label"
        )
    if len(set(stimuli)) < len(stimuli):
        raise InputError(f"stimuli.labels_file = {str(file)!r} names a stimulus twice")
