"""Betas as fitlins, nilearn and their like leave them: BIDS statistical maps, one a contrast."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from conceptrsa.analysis.betas.beta_images import (
    BetaImage,
    files_below,
    read_beta_images,
    wanted_subjects,
)
from conceptrsa.analysis.betas.conditions import ConditionRule, describe_left_out, stimuli_of
from conceptrsa.analysis.betas.named_volumes import named_volumes, table_beside
from conceptrsa.analysis.betas.volumes import VOLUME_SUFFIXES, regions_by_subject
from conceptrsa.analysis.brain.patterns import Half, SubjectPatterns
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.schema import RoiDefinition
from conceptrsa.bids_config.writing import require_content

MAP_NAME = re.compile(r"sub-[0-9a-zA-Z]+_(.+_)?stat-effect(_.+)?_statmap\..+")

LIKE = ("task", "space", "res", "echo")
"""Entities in which all maps of a subject have to agree."""

OF_RUNS = ("acq", "ce", "dir")
"""Entities that tell runs apart besides session and run, where a subject's maps differ in them.

Not `rec`: two reconstructions are of one recording.
"""


@dataclass(frozen=True)
class _Map:
    """A statistical map and the entities in its name."""

    file: Path
    entities: dict[str, str]
    telling: tuple[str, ...] = ()

    @property
    def run(self) -> str | None:
        entities = dict(self.entities)
        if "run" in entities:  # an index in BIDS, of which the zeros in front are no part
            entities["run"] = entities["run"].lstrip("0") or "0"
        keys = ("ses", *self.telling, "run")
        parts = [f"{key}-{entities[key]}" for key in keys if key in entities]
        return "_".join(parts) or None

    @property
    def half(self) -> Half | None:
        description = self.entities.get("desc")
        if description == "odd":
            return "odd"
        return "even" if description == "even" else None


def read_statmaps(
    path: Path,
    rois: Sequence[RoiDefinition],
    atlas: Path,
    *,
    participants: Sequence[str] | None = None,
    task: str | None = None,
    conditions: ConditionRule | None = None,
    with_runs: bool = False,
    ignore_place: bool = False,
) -> tuple[SubjectPatterns, ...]:
    """Read `sub-XX_*_contrast-NAME_stat-effect_statmap.nii.gz`, anywhere below a folder.

    Maps with `run` (or with `ses` alone) in their names, or that differ in `acq`, `ce` or `dir`,
    are of single runs; all others are of all runs, and then taken as such. Of maps of
    runs and of sessions those of runs count. Files without `contrast` hold one volume a stimulus,
    named by the `.tsv` beside them.

    Parameters
    ----------
    path : Path
    rois : sequence of RoiDefinition
    atlas : Path
        Label volume on the maps' grid; see `regions_by_subject`.
    participants, task : optional
        All by default; a task is needed where there are several.
    conditions : ConditionRule, optional
        Which contrasts are stimuli.
    with_runs : bool
        Whether the betas of each run are kept.
    ignore_place : bool
        See `regions_by_subject`.

    Raises
    ------
    InputError
        On no map, maps of several tasks or spaces or of two reconstructions of a run, contrasts
        none of which is a stimulus, a map that is unreadable or on another grid.
    """
    maps = _maps_by_subject(path, task)
    regions_of = regions_by_subject(atlas, rois, ignore_place)
    subjects = []
    for name in wanted_subjects(maps, participants, path):
        _require_alike(name, maps[name])
        taken, others = _of_one_level(maps[name])
        images, tables, left_out = _images_of(taken, conditions or ConditionRule(), path / name)
        notes = list(describe_left_out(name, left_out))
        notes += [f"{name}: {note}" for note in _describe_basis(taken)]
        if others:
            notes.append(f"{name}: maps of single runs are used, not those of sessions")
        subjects.append(
            read_beta_images(
                name.removeprefix("sub-"),
                images,
                regions_of(name.removeprefix("sub-")),
                with_runs=with_runs,
                tables=tables,
                notes=notes,
            )
        )
    return tuple(subjects)


def find_statmaps(path: Path) -> Iterator[Path]:
    """Maps of effects below a folder."""
    for file in files_below(path):
        if file.name.endswith(VOLUME_SUFFIXES) and MAP_NAME.fullmatch(file.name):
            yield file


def _maps_by_subject(path: Path, task: str | None) -> dict[str, list[_Map]]:
    maps: dict[str, list[_Map]] = {}
    for file in find_statmaps(path):
        parts = [part.partition("-") for part in file.name.split("_")[:-1]]
        entities = {key: value for key, _, value in parts}
        if task in (None, entities.get("task")):
            maps.setdefault(f"sub-{entities['sub']}", []).append(_Map(file, entities))
    if not maps:
        of_task = f"task-{task}_*" if task else "*"
        raise InputError(
            f"{path} holds no sub-XX_{of_task}_contrast-NAME_stat-effect_statmap.nii.gz: give the "
            "folder of the maps"
        )
    return {name: _told_apart(of_subject) for name, of_subject in maps.items()}


def _told_apart(maps: Sequence[_Map]) -> list[_Map]:
    """Note of each map which entities tell its run from the subject's others."""
    telling = tuple(
        key for key in OF_RUNS if len({of_map.entities.get(key) for of_map in maps} - {None}) > 1
    )
    return [replace(of_map, telling=telling) for of_map in maps]


def _require_alike(name: str, maps: Sequence[_Map]) -> None:
    for entity in LIKE:
        values = sorted({of_map.entities.get(entity, "") for of_map in maps})
        if len(values) > 1:
            remedy = "choose one by --task-id" if entity == "task" else "keep those of one"
            raise InputError(
                f"the maps of {name} below {maps[0].file.parent} are of several {entity} "
                f"({', '.join(value or 'none' for value in values)}): {remedy}"
            )


def _describe_basis(maps: Sequence[_Map]) -> list[str]:
    """Note that maps are of a finite impulse response model, where nilearn's sidecar says so."""
    for folder in dict.fromkeys(of_map.file.parent for of_map in maps):
        for sidecar in sorted(folder.glob("sub-*statmap.json")):
            require_content(sidecar)
            try:
                content = json.loads(sidecar.read_text(encoding="utf-8"))
            except ValueError:
                continue
            model = content.get("ModelParameters") if isinstance(content, dict) else None
            if isinstance(model, dict) and model.get("hrf_model") == "fir":
                return [
                    f"{sidecar.name} tells of a finite impulse response model: its contrasts are "
                    "taken as responses, which those of single time bins are not"
                ]
    return []


def _of_one_level(maps: Sequence[_Map]) -> tuple[list[_Map], list[_Map]]:
    """Maps of all runs and of the smallest parts, and maps of sessions beside those of runs."""
    if not any("run" in of_map.entities for of_map in maps):
        return list(maps), []
    sessions = [m for m in maps if "ses" in m.entities and "run" not in m.entities]
    # A contrast that was in one session alone has no map of several to stand for it.
    return [of_map for of_map in maps if of_map not in sessions], sessions


def _images_of(
    maps: Sequence[_Map], rule: ConditionRule, source: Path
) -> tuple[list[BetaImage], list[Path], tuple[str, ...]]:
    """Images of the stimuli, tables that name volumes, and contrasts that are no stimuli."""
    images = []
    tables = []
    contrasts = list(
        dict.fromkeys(m.entities["contrast"] for m in maps if "contrast" in m.entities)
    )
    stimuli, left_out = stimuli_of(contrasts, rule, source) if contrasts else ({}, ())
    for of_map in maps:
        if "contrast" not in of_map.entities:
            images += named_volumes(of_map.file, of_map.run, of_map.half)
            tables.append(table_beside(of_map.file))
        elif of_map.entities["contrast"] in stimuli:
            stimulus = stimuli[of_map.entities["contrast"]]
            images.append(BetaImage(stimulus, of_map.file, None, of_map.run, of_map.half))
    return images, tables, left_out
