"""The stimuli of an experiment: pictures named by stimulus id, and what they show."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from analysis.names import require_names
from bids_config.errors import InputError
from bids_config.names import clean_name, require_no_quotes, stimulus_id, stimulus_ids, warn_of_case
from bids_config.tsv import read_table

LABELS_FILE = "labels.tsv"


@dataclass(frozen=True)
class Stimulus:
    """One picture; `id` is the stem of its file, `label` the noun phrase that names it."""

    id: str
    image: Path
    label: str | None = None


def read_stimuli(
    directory: str | Path, labels_file: str | Path | None = None
) -> tuple[Stimulus, ...]:
    """Find the pictures of a folder and the labels that belong to them.

    Parameters
    ----------
    directory : str or Path
        Folder of pictures `<stimulus id>.<extension>`, in any format that Pillow reads; other
        files and hidden files are passed over.
    labels_file : str or Path, optional
        Tab-separated table with the columns `stimulus` and `label`; rows of stimuli without a
        picture are passed over. By default `labels.tsv` in the folder, where there is one.

    Returns
    -------
    tuple of Stimulus
        Sorted by id.

    Raises
    ------
    InputError
        No such folder, no picture in it, two pictures with one id, a picture that cannot be
        read, or a bad table of labels.
    """
    folder = Path(directory)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: give the folder that holds the pictures.")
    pictures = _find_pictures(folder)
    if not pictures:
        raise InputError(f"{folder} holds no picture: put <stimulus id>.png (or .jpg ...) there.")
    require_names(pictures, "stimulus", folder)
    warn_of_case(pictures, "stimulus", folder)
    table = Path(labels_file) if labels_file is not None else folder / LABELS_FILE
    labels = _read_labels(table) if labels_file is not None or table.exists() else {}
    for picture in pictures.values():
        load_picture(picture)
    return tuple(Stimulus(id_, pictures[id_], labels.get(id_)) for id_ in sorted(pictures))


def load_picture(path: str | Path) -> Image.Image:
    """Load a picture upright and in RGB.

    The camera's rotation (EXIF) is undone, transparent parts become white, 16-bit grey is brought
    to 8 bits, and of an animation the first frame is taken.

    Raises
    ------
    InputError
        The file is missing, truncated or no picture.
    """
    try:
        with Image.open(path) as opened:
            picture = ImageOps.exif_transpose(opened)
            picture.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(
            f"{path} cannot be read as a picture ({error}): replace it by an intact copy."
        ) from error
    if picture.mode.startswith("I"):
        wide = np.asarray(picture, dtype=float)
        return Image.fromarray((wide / 257).clip(0, 255).round().astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        coloured = picture.convert("RGBA")
        white = Image.new("RGBA", coloured.size, "white")
        return Image.alpha_composite(white, coloured).convert("RGB")
    return picture.convert("RGB")


def _find_pictures(folder: Path) -> dict[str, Path]:
    Image.init()
    readable = {suffix for suffix, kind in Image.EXTENSION.items() if kind in Image.OPEN}
    pictures: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.suffix.lower() not in readable or path.is_dir():
            continue
        name = stimulus_id(path.stem)
        if name in pictures:
            raise InputError(
                f"{path} and {pictures[name].name} are both called stimulus '{name}': "
                "remove or rename one of them."
            )
        pictures[name] = path
    return pictures


def _read_labels(table: Path) -> dict[str, str]:
    listed = read_table(table)
    listed.require_columns(["stimulus", "label"], "name the tab-separated columns so")
    require_no_quotes(listed.column("label"), table)
    labels: dict[str, str] = {}
    stimuli = stimulus_ids(listed.column("stimulus"), table)
    for line, stimulus, cell in zip(listed.lines, stimuli, listed.column("label"), strict=True):
        label = clean_name(cell)
        if not stimulus or not label:
            raise InputError(
                f"{table}, line {line}: give each stimulus a label, in tab-separated columns "
                "named 'stimulus' and 'label'."
            )
        if labels.setdefault(stimulus, label) != label:
            raise InputError(f"{table}, line {line}: '{stimulus}' has a second label: keep one.")
    return labels
