"""Betas as fitlins, nilearn and their like leave them: BIDS statistical maps, one a contrast."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from conceptrsa.analysis.betas.beta_index import (
    BetaImage,
    Request,
    SubjectImages,
    files_below,
    wanted_subjects,
)
from conceptrsa.analysis.betas.conditions import stimuli_of
from conceptrsa.analysis.betas.image_tables import named_volumes, table_beside
from conceptrsa.analysis.brain.patterns import Half
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import VOLUME_SUFFIXES
from conceptrsa.bids_config.writing import require_content

MAP_NAME = re.compile(r"(sub-[0-9a-zA-Z]+_)?(.+_)?stat-effect(_.+)?_statmap\..+")
OF_FOLDERS = re.compile(r"(sub|ses|run)-[0-9a-zA-Z]+")
"""Entities that folders give if file names do not: nilearn writes no subject into names."""

LIKE = ("task", "space", "res", "echo")
"""Entities in which all maps of a subject have to agree."""

OF_RUNS = ("acq", "ce", "dir")
"""Entities that tell runs apart besides session and run, where a subject's maps differ in them.

Not `rec`: two reconstructions are of one recording.
"""

HALVES: dict[str, Half] = {"odd": "odd", "even": "even"}


@dataclass(frozen=True)
class _Map:
    """A statistical map and the entities in its name."""

    file: Path
    entities: dict[str, str]

    @property
    def half(self) -> Half | None:
        return HALVES.get(self.entities.get("desc", ""))

    def run(self, telling: Sequence[str]) -> str | None:
        """Its run, of which some entities tell besides session and run."""
        entities = dict(self.entities)
        if "run" in entities:  # an index in BIDS, of which the zeros in front are no part
            entities["run"] = entities["run"].lstrip("0") or "0"
        keys = ("ses", *telling, "run")
        parts = [f"{key}-{entities[key]}" for key in keys if key in entities]
        return "_".join(parts) or None


def list_statmaps(want: Request) -> Iterator[SubjectImages]:
    """List `sub-XX_*_contrast-NAME_stat-effect_statmap.nii.gz`, anywhere below a folder.

    In folders `sub-XX` (and `ses-*`, `run-*`) the name may lack what the folder says.

    Maps with `run` (or with `ses` alone) in their names, or that differ in `acq`, `ce` or `dir`,
    are of single runs; all others are of all runs, and then taken as such. Of maps of
    runs and of sessions those of runs count. Files without `contrast` hold one volume a stimulus,
    named by the `.tsv` beside them.

    Raises
    ------
    InputError
        On no map, maps of several tasks or spaces, or contrasts none of which is a stimulus.
    """
    maps: dict[str, list[_Map]] = {}
    for file in find_statmaps(want.path):
        folders = file.relative_to(want.path).parts[:-1]
        words = [part for part in folders if OF_FOLDERS.fullmatch(part)]
        parts = [part.partition("-") for part in (*words, *file.name.split("_")[:-1])]
        entities = {key: value for key, _, value in parts}
        if "sub" in entities and want.task in (None, entities.get("task")):
            maps.setdefault(f"sub-{entities['sub']}", []).append(_Map(file, entities))
    if not maps:
        of_task = f"task-{want.task}_*" if want.task else "*"
        raise InputError(
            f"{want.path} holds no sub-XX_{of_task}_contrast-NAME_stat-effect_statmap.nii.gz: give "
            "the folder of the maps"
        )
    for name in wanted_subjects(maps, want):
        yield _list_subject(name, maps[name], want)


def find_statmaps(path: Path) -> Iterator[Path]:
    """Maps of effects below a folder."""
    for file in files_below(path):
        if file.name.endswith(VOLUME_SUFFIXES) and MAP_NAME.fullmatch(file.name):
            yield file


def _list_subject(name: str, maps: Sequence[_Map], want: Request) -> SubjectImages:
    for entity in LIKE:
        values = _values(maps, entity)
        if len(values) > 1:
            remedy = "choose one with --task-id" if entity == "task" else "keep those of one"
            raise InputError(
                f"the maps of {name} below {maps[0].file.parent} have several {entity} "
                f"({', '.join(value or 'none' for value in values)}): {remedy}"
            )
    telling = [key for key in OF_RUNS if len([v for v in _values(maps, key) if v]) > 1]
    # A contrast that was in one session alone has no map of several to stand for it.
    of_sessions = [m for m in maps if "ses" in m.entities and "run" not in m.entities]
    if any("run" in of_map.entities for of_map in maps):
        taken = [of_map for of_map in maps if of_map not in of_sessions]
    else:
        taken, of_sessions = list(maps), []
    contrasts = [m.entities["contrast"] for m in taken if "contrast" in m.entities]
    stimuli: dict[str, str] = {}
    left_out: tuple[str, ...] = ()
    if contrasts:
        names = list(dict.fromkeys(contrasts))
        stimuli, left_out = stimuli_of(names, want.conditions, want.path / name)
    images: list[BetaImage] = []
    tables = []
    for of_map in taken:
        contrast, run = of_map.entities.get("contrast"), of_map.run(telling)
        if contrast is None:
            images += named_volumes(of_map.file, run, of_map.half)
            tables.append(table_beside(of_map.file))
        elif contrast in stimuli:
            images.append(BetaImage(stimuli[contrast], of_map.file, None, run, of_map.half))
    notes = _describe_basis(taken)
    if of_sessions:
        notes.append("maps of single runs are used, not those of sessions")
    return SubjectImages(name, images, tables, left_out, notes)


def _values(maps: Sequence[_Map], entity: str) -> list[str]:
    """Give the values of an entity in some maps; '' if a map lacks it."""
    return sorted({of_map.entities.get(entity, "") for of_map in maps})


def _describe_basis(maps: Sequence[_Map]) -> list[str]:
    """Note that maps are of a finite impulse response model, where nilearn's sidecar says so."""
    for folder in dict.fromkeys(of_map.file.parent for of_map in maps):
        for sidecar in sorted(folder.glob("*statmap.json")):
            require_content(sidecar)
            try:
                content = json.loads(sidecar.read_text(encoding="utf-8"))
            except ValueError:
                continue
            model = content.get("ModelParameters") if isinstance(content, dict) else None
            if isinstance(model, dict) and model.get("hrf_model") == "fir":
                return [
                    f"{sidecar.name} describes a finite impulse response model: its contrasts are "
                    "read as responses, which single time bins are not"
                ]
    return []
