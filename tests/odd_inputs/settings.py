"""Derivatives of several configurations, and data sets to make them from."""

import json
from collections.abc import Sequence
from pathlib import Path

import supplied_data as data
from PIL import Image

from conceptrsa.bids_config import load_dataset_config
from conceptrsa.bids_config.recorded import write_recorded

OTHER = data.CONFIG.replace("visual = [1011, 2011]", "visual = [1011]")
"""The same names, but a region of one label in place of two."""

RENAMED = data.CONFIG.replace('name = "small"', 'name = "other"\ndescription = "the same"')
OTHER_EVENTS = data.CONFIG.replace('rule = "none"', 'rule = "repeat"')

EVENTS = "onset\tduration\tstimulus_name\n12\t9\tx\n21\t9\ty\n"
TIMING = {"RepetitionTime": 3.0, "SliceTiming": [0.0, 1.5]}


def config_file(folder: Path, text: str = data.CONFIG, name: str = "small.toml") -> Path:
    """Write a configuration."""
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def with_labels(folder: Path, labels: str = "stimulus\tlabel\nx\ta thing\n") -> Path:
    """Write a configuration with a table of labels beside it."""
    (folder / "own_labels.tsv").write_text(labels, encoding="utf-8")
    return config_file(folder, f'{data.CONFIG}labels_file = "own_labels.tsv"\n')


def derivatives(root: Path, config: Path | None) -> Path:
    """Write derivatives of three subjects that carry a configuration, or none."""
    data.write_derivatives(root)
    if config is not None:
        write_recorded(load_dataset_config(config), root)
    return root


def bids(root: Path, subjects: tuple[str, ...] = ("01", "02")) -> Path:
    """Write a raw data set of names and events; its images are empty."""
    root.mkdir()
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
    (root / "task-perception_bold.json").write_text(json.dumps(TIMING))
    for subject in subjects:
        for folder in ("func", "anat"):
            (root / f"sub-{subject}" / folder).mkdir(parents=True)
        stem = root / f"sub-{subject}" / "func" / f"sub-{subject}_task-perception_run-1"
        Path(f"{stem}_bold.nii.gz").touch()
        Path(f"{stem}_events.tsv").write_text(EVENTS)
        (root / f"sub-{subject}" / "anat" / f"sub-{subject}_T1w.nii.gz").touch()
    return root


def pictures(folder: Path, names: Sequence[str], labels: Sequence[str] | None = None) -> Path:
    """Draw pictures, with labels of some of them or with no table of labels."""
    folder.mkdir()
    for place, name in enumerate(names):
        Image.new("RGB", (8, 8), (20 * place, 90, 30)).save(folder / f"{name}.png")
    if labels is not None:
        rows = "".join(f"{name}\ta thing\n" for name in labels)
        (folder / "labels.tsv").write_text(f"stimulus\tlabel\n{rows}")
    return folder
