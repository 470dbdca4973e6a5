"""What the derivatives say about themselves as a BIDS data set."""

import json
from importlib.metadata import version
from pathlib import Path

from bids_config.files import atomic_path

BIDS_VERSION = "1.10.0"
# Names that the standard does not have yet; the validator is told so, and nothing else is hidden.
BIDSIGNORE = (
    "*_statmap.*", "*_boldref.*", "*_timeseries.*", "*_rois.tsv", "*_roibetas.*", "*_xfm.*",
    "*_design.tsv", "group", "logs", ".work",
)  # fmt: skip


def write_dataset_description(out_dir: Path, bids_dir: Path) -> None:
    """Write `dataset_description.json` and `.bidsignore`.

    Parameters
    ----------
    out_dir : Path
        Root of the derivatives.
    bids_dir : Path
        The raw data set they were made from.
    """
    raw = json.loads((bids_dir / "dataset_description.json").read_text())
    description = {
        "Name": f"conceptrsa derivatives of {raw.get('Name', bids_dir.name)}",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "conceptrsa", "Version": version("conceptrsa")}],
        "SourceDatasets": [_source_dataset(raw, bids_dir)],
        "DatasetLinks": {"raw": str(bids_dir.resolve())},
    }
    with atomic_path(out_dir / "dataset_description.json") as temporary:
        temporary.write_text(json.dumps(description, indent=2) + "\n")
    with atomic_path(out_dir / ".bidsignore") as temporary:
        temporary.write_text("\n".join(BIDSIGNORE) + "\n")


def _source_dataset(raw: dict[str, str], bids_dir: Path) -> dict[str, str]:
    if "DatasetDOI" in raw:
        return {"DOI": raw["DatasetDOI"]}
    return {"URL": bids_dir.resolve().as_uri()}
