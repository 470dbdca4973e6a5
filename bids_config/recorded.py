"""The data set configuration that derivatives were made with, kept in their root."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.reader import load_dataset_config
from conceptrsa.bids_config.schema import ComparisonConfig, DatasetConfig, RegionChoice
from conceptrsa.bids_config.writing import atomic_path, write_text

RECORD = "dataset_config.toml"
MIXED = "dataset_config_mixed.txt"
"""Record of differences when subjects of another configuration were added, one line each."""
LABELS = "dataset_config_labels.tsv"
"""The table of labels goes along: derivatives are read where the tool's own files lie elsewhere."""

SECTIONS = ("runs", "events", "glm", "atlas", "rois", "stimuli")
"""Sections of a configuration that can change a result; name and description cannot."""

OF_COMPARISON = ("rois", "stimuli")
"""Sections that the comparison uses."""

FORCE = "--force-dataset-config"
GIVE = (
    "give --dataset-config FILE, a TOML file of its runs, events and regions (conceptrsa init "
    "writes one, docs/adding.md explains it), or the name of a packaged one (demo, ds001246)"
)


def read_recorded(folder: Path) -> DatasetConfig | None:
    """Read the configuration that a folder carries; None if there is none.

    Raises
    ------
    InputError
        On a record that is damaged.
    """
    file = folder / RECORD
    return load_dataset_config(file) if file.is_file() else None


def write_recorded(config: DatasetConfig, folder: Path) -> None:
    """Keep a configuration and its labels in a folder."""
    labels = config.stimuli.labels_file
    if labels is None:
        (folder / LABELS).unlink(missing_ok=True)
    elif labels != folder / LABELS:
        with atomic_path(folder / LABELS) as temporary:
            temporary.write_bytes(labels.read_bytes())
    kept = None if labels is None else Path(LABELS)
    table = asdict(replace(config, stimuli=replace(config.stimuli, labels_file=kept)))
    table["rois"] = {roi.name: roi.labels for roi in config.rois}
    lines = ["# What these derivatives were made with; written by conceptrsa.", *_as_toml(table)]
    write_text(folder / RECORD, "\n".join(lines) + "\n")


def add_to_mixture(differing: str, folder: Path) -> None:
    """Note that a folder holds subjects of different configurations."""
    file = folder / MIXED
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    write_text(file, "".join(f"{line}\n" for line in dict.fromkeys([*lines, differing])))


def notes_on_mixture(folder: Path) -> tuple[str, ...]:
    """Say what `add_to_mixture` noted; nothing where it did not."""
    file = folder / MIXED
    if not file.is_file():
        return ()
    lines = "; ".join(file.read_text(encoding="utf-8").splitlines())
    return (f"{folder} holds subjects made with different data set configurations ({lines})",)


def difference(
    one: DatasetConfig,
    other: DatasetConfig | ComparisonConfig,
    sections: Sequence[str] = SECTIONS,
) -> str:
    """Say where two configurations first differ: 'rois.visual (1, 2) and (3)'; empty if nowhere."""
    for section in sections:
        these, those = (_content(config, section) for config in (one, other))
        for key in {**these, **those}:
            if these.get(key) != those.get(key):
                return f"{section}.{key} {_shown(key, these)} and {_shown(key, those)}"
    return ""


def require_recorded(
    config: DatasetConfig | ComparisonConfig, folder: Path, sections: Sequence[str], force: bool
) -> str:
    """Refuse a configuration other than the one that a folder's derivatives were made with.

    Parameters
    ----------
    config : DatasetConfig
        The one that was asked for.
    folder : Path
        Root of the derivatives; where it carries no configuration, all is well.
    sections : sequence of str
        What has to be the same.
    force : bool
        Give the sentence in place of raising it.

    Returns
    -------
    str
        What differs; empty where nothing does.
    """
    recorded = read_recorded(folder)
    differing = "" if recorded is None else difference(recorded, config, sections)
    if not differing:
        return ""
    sentence = f"{folder} was made with another data set configuration ({differing} now)"
    if not force:
        others = ", --baseline, --pooling, --space and --atlas" if "glm" in sections else ""
        raise InputError(
            f"{sentence}: leave --dataset-config{others} out to use its own ({RECORD} there), "
            f"choose another folder, or add {FORCE}"
        )
    return sentence


def _content(config: DatasetConfig | ComparisonConfig, section: str) -> Mapping[str, Any]:
    if section == "rois":
        # Sets of labels, in whatever order.
        return {
            str(roi.name): str(roi) if isinstance(roi, RegionChoice) else tuple(sorted(roi.labels))
            for roi in config.rois
        }
    if section == "atlas":  # by its name: the same one may lie elsewhere, as in a container
        file = getattr(config, "atlas", None)
        return {} if file is None else {"file": file.name}
    content: dict[str, Any] = asdict(getattr(config, section))
    if content.get("labels_file") is not None:
        content["labels_file"] = content["labels_file"].read_bytes()
    one_back = content.pop("one_back", {})
    return content | {f"one_back.{key}": value for key, value in one_back.items()}


def _shown(key: str, content: Mapping[str, Any]) -> str:
    value = content.get(key)
    if value is None:
        return "absent"
    if key == "labels_file":
        return f"of {len(value)} bytes"
    return f"({', '.join(map(str, value))})" if isinstance(value, tuple) else repr(value)


def _as_toml(table: Mapping[str, Any], section: str = "") -> Iterator[str]:
    inner = {}
    for key, value in table.items():
        if isinstance(value, dict):
            inner[key] = value
        elif value not in (None, ""):
            bare = re.fullmatch(r"[A-Za-z0-9_-]+", key)
            yield f"{key if bare else _text(key)} = {_text(value)}"
    for key, value in inner.items():
        name = f"{section}.{key}" if section else key
        yield from ("", f"[{name}]", *_as_toml(value, name))


def _text(value: object) -> str:
    """A value as TOML has it: a text in JSON is one in TOML, but for one character."""
    return json.dumps(value, ensure_ascii=False, default=str).replace("\x7f", "\\u007f")
