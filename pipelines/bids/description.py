"""What the derivatives say about themselves as a BIDS data set."""

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from conceptrsa.bids_config.writing import atomic_path
from conceptrsa.pipelines.bids.layout import read_json_object

BIDS_VERSION = "1.10.0"
# Names that the standard does not have yet; the validator is told so, and nothing else is hidden.
BIDSIGNORE = (
    "*_statmap.*", "*_boldmap.*", "*_boldref.*", "*_timeseries.*", "*_rois.*", "*_roibetas.*",
    "*_xfm.*", "*_design.*", "sub-*.html", "group", "logs", ".work",
    "dataset_config*",
)  # fmt: skip


def write_dataset_description(
    out_dir: Path,
    bids_dir: Path,
    derivatives_dir: Path | None = None,
    subjects_dirs: Mapping[str, Path] | None = None,
) -> None:
    """Write `dataset_description.json` and `.bidsignore`.

    Parameters
    ----------
    out_dir : Path
        Root of the derivatives.
    bids_dir : Path
        The raw data set they were made from.
    derivatives_dir : Path, optional
        What fMRIPrep made of it, where that was started from.
    subjects_dirs : mapping of str to Path, optional
        Folders of FreeSurfer's reconstructions, by the names that URIs give them.
    """
    links = {"raw": bids_dir}
    if derivatives_dir is not None:
        links["preprocessed"] = derivatives_dir
    links |= subjects_dirs or {}
    raw = read_json_object(bids_dir / "dataset_description.json")
    description = {
        "Name": f"conceptrsa derivatives of {raw.get('Name', bids_dir.name)}",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "conceptrsa", "Version": version("conceptrsa")}],
        "SourceDatasets": [_source_dataset(folder) for folder in links.values()],
        "DatasetLinks": {name: str(folder.resolve()) for name, folder in links.items()},
    }
    with atomic_path(out_dir / "dataset_description.json") as temporary:
        temporary.write_text(json.dumps(description, indent=2) + "\n")
    with atomic_path(out_dir / ".bidsignore") as temporary:
        temporary.write_text("\n".join(BIDSIGNORE) + "\n")


def _source_dataset(folder: Path) -> dict[str, str]:
    file = folder / "dataset_description.json"
    description = read_json_object(file) if file.exists() else {}  # FreeSurfer leaves none
    source = {"URL": folder.resolve().as_uri()}
    if "DatasetDOI" in description:
        source["DOI"] = str(description["DatasetDOI"])
    return source
