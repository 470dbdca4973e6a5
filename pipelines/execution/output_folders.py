"""Folders that are written: apart from what is read, and described as BIDS derivatives."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.writing import atomic_path, write_json
from conceptrsa.pipelines.bids.layout import DESCRIPTION, read_json_object

TOOL = "conceptrsa"
BIDS_VERSION = "1.10.0"
# Names that the standard does not have yet; the validator is told so, and nothing else is hidden.
BIDSIGNORE = (
    "*_statmap.*", "*_boldmap.*", "*_boldref.*", "*_timeseries.*", "*_rois.*", "*_roibetas.*",
    "*_xfm.*", "*_design.*", "sub-*.html", "group", "logs", ".work",
    "dataset_config*",
)  # fmt: skip

HOLD_INPUTS = ("sourcedata", "inputs")
"""Folders in which BIDS and DataLad keep the sources of results."""

Kind = Literal["data set", "betas", "files"]


@dataclass(frozen=True)
class Input:
    """A folder that is read.

    Attributes
    ----------
    name : str
        What the user gave it as, for messages.
    folder : Path or None
        None and folders that are not there are no inputs.
    kind : {'data set', 'betas', 'files'}
        A BIDS data set may hold output in its `derivatives`; a folder of betas anywhere outside of
        its subjects; one of files nowhere.
    """

    name: str
    folder: Path | None
    kind: Kind

    def may_hold(self, below: Path) -> bool:
        """Whether output may lie at a place below the folder."""
        first = below.parts[0].lower()
        if self.kind == "data set":
            return first == "derivatives"
        return self.kind == "betas" and not first.startswith("sub-")


def require_separate(
    output: Path, inputs: Sequence[Input], option: str = "OUT_DIR", part: str | None = None
) -> None:
    """Refuse an output folder that is an input, lies in one or holds one where they would mix.

    Links, relative paths and, on disks that know no difference, upper and lower case are seen
    through.

    Parameters
    ----------
    output : Path
        It need not be there.
    inputs : sequence of Input
    option : str
        Where it was given, for messages.
    part : str, optional
        The only folder in it that is written to; all of it by default. Reconstructions, raw data
        and the like may lie in its `sourcedata` or `inputs`.

    Raises
    ------
    InputError
    """
    for given in inputs:
        if given.folder is None or not given.folder.is_dir():
            continue
        below = below_folder(output, given.folder)
        above = None
        if part is not None or given.kind == "data set":
            above = below_folder(given.folder, output / (part or ""))
        if below == Path():
            relation = f"is {given.name} itself"
        elif below is not None and not given.may_hold(below):
            relation = f"lies in {given.name} ({given.folder})"
        elif above is not None and (part or above.parts[0].lower() not in HOLD_INPUTS):
            relation = f"holds {given.name} ({given.folder})"
        else:
            continue
        raw = next((i.folder for i in inputs if i.kind == "data set"), None)
        place = f"in {raw}/derivatives" if given.kind == "data set" else "elsewhere"
        raise InputError(
            f"{option} {output} {relation}, whose files would be mixed with results or "
            f"overwritten: choose another {option}, such as a new folder {place}"
        )


def require_no_other_data_set(folder: Path, option: str = "OUT_DIR") -> None:
    """Refuse a folder that holds a data set which this tool did not derive.

    Raises
    ------
    InputError
    """
    file = folder / DESCRIPTION
    if not file.is_file():
        return
    content = read_json_object(file)
    generated = content.get("GeneratedBy")
    makers = generated if isinstance(generated, list) else []
    is_own = any(isinstance(maker, Mapping) and maker.get("Name") == TOOL for maker in makers)
    if not is_own or content.get("DatasetType") != "derivative":
        raise InputError(
            f"{option} {folder} holds another data set, whose {file.name} would be overwritten: "
            f"choose another {option}, such as a new folder in derivatives"
        )


def below_folder(inner: Path, outer: Path) -> Path | None:
    """Path from a folder to what is in it or is it; None for what lies elsewhere."""
    if not outer.exists():
        return None
    real = inner.resolve()
    for parent in (real, *real.parents):
        if parent.exists() and parent.samefile(outer):
            return real.relative_to(parent)
    return None


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
    raw = read_json_object(bids_dir / DESCRIPTION)
    description = {
        "Name": f"conceptrsa derivatives of {raw.get('Name', bids_dir.name)}",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": TOOL, "Version": version(TOOL)}],
        "SourceDatasets": [_source_dataset(folder) for folder in links.values()],
        "DatasetLinks": {name: str(folder.resolve()) for name, folder in links.items()},
    }
    write_json(out_dir / DESCRIPTION, description)
    with atomic_path(out_dir / ".bidsignore") as temporary:
        temporary.write_text("\n".join(BIDSIGNORE) + "\n")


def _source_dataset(folder: Path) -> dict[str, str]:
    file = folder / DESCRIPTION
    description = read_json_object(file) if file.exists() else {}  # FreeSurfer leaves none
    source = {"URL": folder.resolve().as_uri()}
    if "DatasetDOI" in description:
        source["DOI"] = str(description["DatasetDOI"])
    return source


def require_writable(folder: Path, option: str = "output folder") -> None:
    """Make a folder and try to write in it; `option` names where it was given.

    Raises
    ------
    InputError
        If that cannot be done.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"cannot write in {folder} ({error.strerror}); choose another {option}"
        ) from error


def require_makeable(folder: Path, option: str = "OUT_DIR") -> None:
    """Look whether a folder could be written to, or made, without making it.

    Raises
    ------
    InputError
        If not; it names the option that gave the folder.
    """
    existing = existing_parent(folder)
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise InputError(f"cannot write in {existing}; choose another {option}")


def existing_parent(folder: Path) -> Path:
    """Give a folder, or the nearest one above it that exists."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())
