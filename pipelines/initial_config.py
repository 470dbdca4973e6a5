"""A first configuration of a data set, written from what is found in it."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from conceptrsa.analysis.betas.named_atlases import AtlasFiles
from conceptrsa.analysis.betas.own_derivatives import own_atlas
from conceptrsa.analysis.betas.read import list_subjects
from conceptrsa.bids_config.desikan_killiany import region_names
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.images import times
from conceptrsa.bids_config.label_tables import read_label_table, table_beside
from conceptrsa.bids_config.names import (
    PICTURE_ENDINGS,
    READ_AS_MISSING,
    SUBJECT_PLACE,
    clean_name,
    natural_key,
    some_of,
    stimulus_id,
)
from conceptrsa.bids_config.tsv import TextTable, read_table
from conceptrsa.pipelines.bids.layout import DESCRIPTION, FUNC, parse_entities

CHECK = "# CHECK:"
"""Begins a remark on a line that was guessed."""
STIMULUS_COLUMNS = (
    "stim_file", "stimulus_name", "stimulus", "stim", "image_name", "image", "picture",
    "image_file", "filename", "file", "stimulus_id", "image_id", "condition", "trial_type",
)  # fmt: skip
"""Columns of events that may name what was shown, the likeliest first."""
MOST_TYPES = 12
"""A column of more values tells no types of trials."""
REST = re.compile(
    r"(rest(ing)?|fix(ation)?|baseline|blank|iti|isi|null)([ _-]?(cross|trial|period|event)s?)?",
    re.IGNORECASE,
)
PROPOSED = {
    "visual": "ctx-?h-lateraloccipital,ctx-?h-pericalcarine",
    "fusiform": "ctx-?h-fusiform",
    "parahippocampal": "ctx-?h-parahippocampal",
    "hippocampus": "*-Hippocampus",
}
"""Regions of `aparc+aseg` that are often looked at."""
ABOUT_PROMPT = (
    "# What language models read; labels are in labels.tsv (stimulus, label) beside the pictures.",
    'prompt = "a photo of {label}"',
)
WIDTH = 96


def initial_config(path: Path, atlas: AtlasFiles | None = None, trials: Path | None = None) -> str:
    """Write the configuration of a raw BIDS data set, or of betas, as TOML with remarks.

    Parameters
    ----------
    path : Path
        A data set with events, or betas in a form that `compare` takes.
    atlas : AtlasFiles, optional
        Whose regions are listed, of betas.
    trials : Path, optional
        What names the trials of GLMsingle or NSD, as `read_betas` takes it.

    Raises
    ------
    InputError
        If the path holds neither, or a table in it is damaged.
    """
    if not path.exists():
        raise InputError(f"{path} is missing: give a BIDS data set, or betas")
    events = _find_events(path)
    if not events and (path / DESCRIPTION).is_file() and _is_raw(path):
        raise InputError(
            f"{path} holds no events of BOLD runs (sub-*/**/func/*_events.tsv), which list the "
            "stimuli: add them"
        )
    lines = _of_events(path, events) if events else _of_betas(path, atlas, trials)
    return "\n".join(lines) + "\n"


def _is_raw(path: Path) -> bool:
    return '"derivative"' not in (path / DESCRIPTION).read_text(encoding="utf-8", errors="replace")


def _find_events(path: Path) -> dict[str, list[Path]]:
    """Events of BOLD runs by task, those with most runs first."""
    found: dict[str, list[Path]] = {}
    for file in sorted(path.glob("sub-*/**/*_events.tsv")) if path.is_dir() else ():
        entities = parse_entities(f"/{file.relative_to(path).as_posix()}")
        if entities["datatype"] == FUNC and "task" in entities:
            found.setdefault(entities["task"], []).append(file)
    for file in sorted(path.glob("task-*_events.tsv")) if path.is_dir() else ():
        task = parse_entities(f"/{file.name}").get("task", "")  # one table for all runs of a task
        found.setdefault(task, []).append(file)
    return dict(sorted(found.items(), key=lambda item: -len(item[1])))


@dataclass(frozen=True)
class _Columns:
    """Meaning of the columns of events tables, guessed from their values."""

    stimulus: str
    types: str | None
    stimulus_types: tuple[str, ...]
    fixation_types: tuple[str, ...]
    ignored_types: tuple[str, ...]
    n_repeats: int
    names: tuple[str, ...]


def _of_events(path: Path, events: Mapping[str, Sequence[Path]]) -> Iterator[str]:
    task, files = next(iter(events.items()))
    tables = [read_table(file) for file in files]
    columns = _read_columns(tables)
    subjects = sorted({_subject_of(path, file) for file in files} - {""}, key=natural_key)
    yield f"# Written by conceptrsa init from {path.name or path}: {len(files)} runs with events of"
    yield f"# {len(subjects)} subjects ({some_of(subjects)}). Check the lines marked CHECK."
    yield "# Try it: conceptrsa run BIDS_DIR OUT_DIR participant --dataset-config THIS --dry-run"
    yield ""
    yield f"name = {_quoted(path.resolve().name or 'study')}"
    yield ""
    yield "[runs]"
    if len(events) > 1:
        others = [f"{other} ({len(of)} runs)" for other, of in events.items() if other != task]
        yield f"{CHECK} the task with the most runs; there are also {some_of(others)}"
    yield f"task = {_quoted(task)}"
    yield from _about_sessions(path, files)
    yield ""
    yield "[events]"
    yield from _about_columns(tables, columns)
    yield ""
    yield "[events.one_back]"
    if columns.n_repeats:
        yield f"{CHECK} a stimulus follows itself {columns.n_repeats} times, which suggests a"
        yield "# one-back task; 'none' models each as a trial, 'column' reads a column of marks"
        yield 'rule = "repeat"'
    else:
        yield "# no stimulus follows itself"
        yield 'rule = "none"'
    yield ""
    yield "[glm]"
    yield "# These are conceptrsa's defaults."
    yield 'hrf = "spm"                      # or "glover"'
    yield "high_pass_seconds = 128.0"
    yield 'noise_model = "ar1"              # or "ols"'
    yield 'baseline = "implicit"            # explicit: fixation as a regressor'
    yield "slice_time_reference = 0.5       # of the TR"
    yield ""
    yield "[rois]"
    yield f"{CHECK} regions by names or patterns (*, ?) of FreeSurfer's labels, or by numbers:"
    yield from _wrapped(region_names().values())
    yield from (f"{name} = {_quoted(said)}" for name, said in PROPOSED.items())
    yield ""
    yield "[stimuli]"
    yield f"# {len(columns.names)} stimuli: {some_of(columns.names)}"
    of_subjects = [_subject_of(path, file) for file in files]
    if _all_see_all(of_subjects, tables, columns):
        yield f"count = {len(columns.names)}"
    else:
        yield "# not all subjects saw the same stimuli"
    yield from _about_pictures(path, columns.names)
    yield from ABOUT_PROMPT


def _about_sessions(path: Path, files: Sequence[Path]) -> Iterator[str]:
    sessions = {
        parse_entities(f"/{file.relative_to(path).as_posix()}").get("session") for file in files
    }
    names = sorted(filter(None, sessions), key=natural_key)
    kinds = sorted({re.sub(r"\d+$", "", name) for name in names} - {""})
    if len(kinds) > 1:
        yield f"{CHECK} sessions of several kinds ({', '.join(kinds)}) are all used, unless"
        yield f"# session_pattern = {_quoted(kinds[0] + '[0-9]+')}"
    elif len(names) > 1:
        yield f"# sessions {some_of(names)} are all used, unless session_pattern chooses some"


def _about_columns(tables: Sequence[TextTable], columns: _Columns) -> Iterator[str]:
    yield f"# columns: {', '.join(tables[0].columns)}"
    yield f"{CHECK} the column that names the stimulus, such as {some_of(columns.names, 2)}"
    yield f"condition_column = {_quoted(columns.stimulus)}"
    if columns.types is None:
        yield "# no type_column: every row that names a stimulus is a trial"
        return
    yield f"{CHECK} what the values of {columns.types} are"
    yield f"type_column = {_quoted(columns.types)}"
    yield f"stimulus_types = {_listed(columns.stimulus_types)}"
    yield f"fixation_types = {_listed(columns.fixation_types)}"
    yield f"ignored_types = {_listed(columns.ignored_types)}"


def _read_columns(tables: Sequence[TextTable]) -> _Columns:
    shared = [name for name in tables[0].columns if all(name in one.columns for one in tables)]
    values = {
        name: [clean_name(cell) for one in tables for cell in one.column(name)] for name in shared
    }
    stimulus = _stimulus_column(values, tables)
    shown = values[stimulus]
    types = None
    meaning: dict[str, tuple[str, ...]] = {"stimulus": (), "fixation": (), "ignored": ()}
    for name in sorted(values, key=lambda name: "type" not in name):
        found = Counter(values[name])
        is_text = not all(map(_is_number, found))
        if name in (stimulus, "onset", "duration") or not 2 <= len(found) <= MOST_TYPES:
            continue
        pairs = zip(values[name], shown, strict=True)
        named = Counter(kind for kind, one in pairs if one not in READ_AS_MISSING)
        without = [kind for kind in found if not named[kind]]
        if is_text and without:
            types = name
            meaning = {
                "stimulus": tuple(kind for kind in found if named[kind]),
                "fixation": tuple(kind for kind in without if REST.fullmatch(kind)),
                "ignored": tuple(kind for kind in without if not REST.fullmatch(kind)),
            }
            break
    resting = tuple(sorted(name for name in set(shown) if REST.fullmatch(name)))
    if types is None and resting:  # stimuli and rest in one column
        types = stimulus
        meaning = {
            "stimulus": tuple(sorted({*shown} - READ_AS_MISSING - {*resting}, key=natural_key)),
            "fixation": resting,
            "ignored": tuple(sorted({*shown} & READ_AS_MISSING)),
        }
    stimuli = _stimuli_of(tables, stimulus, types, meaning["stimulus"])
    return _Columns(
        stimulus,
        types,
        meaning["stimulus"],
        meaning["fixation"],
        meaning["ignored"],
        sum(one == other for run in stimuli for one, other in pairwise(run)),
        tuple(sorted({name for run in stimuli for name in run}, key=natural_key)),
    )


def _stimulus_column(values: Mapping[str, Sequence[str]], tables: Sequence[TextTable]) -> str:
    candidates = {
        name: {cell for cell in cells if cell not in READ_AS_MISSING}
        for name, cells in values.items()
        if name not in ("onset", "duration")
    }
    many = [name for name, found in candidates.items() if len(found) >= 3]
    if not many:
        raise InputError(
            f"{tables[0].file} has no column with three or more stimuli (its columns: "
            f"{', '.join(tables[0].columns)}): add one, as BIDS' stim_file"
        )
    known = [name for name in STIMULUS_COLUMNS if name in many]
    pictures = [name for name in many if all(_is_picture(cell) for cell in candidates[name])]
    texts = [name for name in many if not all(map(_is_number, candidates[name]))]
    of_text = [name for name in known if name in texts]
    return [*pictures, *of_text, *texts, *known, *many][0]


def _stimuli_of(
    tables: Sequence[TextTable], column: str, types: str | None, stimulus_types: Sequence[str]
) -> list[list[str]]:
    """Stimuli of each run in the order of their onsets."""
    runs = []
    for table in tables:
        onsets = table.numbers(["onset"], missing=True)[:, 0]
        kinds = map(clean_name, table.column(types)) if types else [""] * len(onsets)
        cells = zip(onsets, table.column(column), kinds, strict=True)
        runs.append([
            stimulus_id(cell, is_file=column == "stim_file")
            for _, cell, kind in sorted(cells, key=lambda row: row[0])
            if clean_name(cell) not in READ_AS_MISSING and (not types or kind in stimulus_types)
        ])  # fmt: skip
    return runs


def _subject_of(path: Path, file: Path) -> str:
    """Label of a subject with `sub-`; none for a table of all."""
    subject = parse_entities(f"/{file.relative_to(path).as_posix()}").get("subject")
    return f"sub-{subject}" if subject else ""


def _all_see_all(subjects: Sequence[str], tables: Sequence[TextTable], columns: _Columns) -> bool:
    """Whether all subjects saw the same stimuli, from the subject of each run."""
    seen: dict[str, set[str]] = {}
    runs = _stimuli_of(tables, columns.stimulus, columns.types, columns.stimulus_types)
    for subject, stimuli in zip(subjects, runs, strict=True):
        seen.setdefault(subject, set()).update(stimuli)
    return all(of == set(columns.names) for of in seen.values())


def _about_pictures(path: Path, names: Sequence[str]) -> Iterator[str]:
    folder = path / "stimuli"
    if not folder.is_dir():
        yield "# There is no folder stimuli: give --stimuli DIR, with pictures of these names."
        return
    there = {stimulus_id(file.name) for file in folder.rglob("*") if _is_picture(file.name)}
    missing = [name for name in names if name not in there]
    said = f"not of {some_of(missing)}" if missing else "all of them"
    yield f"# pictures in the folder stimuli: {said}"


def _of_betas(path: Path, atlas: AtlasFiles | None, trials: Path | None) -> Iterator[str]:
    form, subjects = list_subjects(path, trials=trials)
    stimuli = sorted({name for one in subjects for name in one.stimuli}, key=natural_key)
    yield f"# Written by conceptrsa init from {path.name or path}: {form.layout}"
    yield f"# {len(subjects)} subjects: {some_of([one.name for one in subjects])}"
    yield f"# {len(stimuli)} stimuli: {some_of(stimuli)}"
    shapes = Counter(f"{times(one.shape)} voxels in {one.space or 'an unknown space'}"
                     for one in subjects if one.shape)  # fmt: skip
    for shape, number in shapes.items():
        yield f"# {number} subjects: {shape}"
    yield "# Use it: conceptrsa compare --betas BETAS --dataset-config THIS --features or --stimuli"
    has_regions = subjects[0].regions or form.has_own_atlas
    more = ("" if has_regions else " --atlas NAME_OR_FILE") + (" --trials FILE" if trials else "")
    yield f"#         ... --out OUT{more}"
    yield ""
    yield f"name = {_quoted(path.resolve().stem or 'study')}"
    yield ""
    yield "[rois]"
    yield from _regions_of_betas(path, subjects[0].name, subjects[0].regions, atlas)
    yield ""
    yield "[stimuli]"
    yield from ABOUT_PROMPT


def _regions_of_betas(
    path: Path, subject: str, own: Sequence[str], atlas: AtlasFiles | None
) -> Iterator[str]:
    if own:
        yield "# The betas' own regions, in this order; remove those that you do not want."
        yield from (f"{_key(name)} = {_quoted(name)}" for name in own)
        return
    file = atlas.file if atlas else own_atlas(path)
    if SUBJECT_PLACE in str(file):
        file = Path(str(file).replace(SUBJECT_PLACE, subject.removeprefix("sub-")))
    table = (atlas.labels if atlas else None) or (table_beside(file) if file.exists() else None)
    if table is None:
        yield "# Labels of the atlas by numbers, by names and patterns (*, ?) of its label table,"
        yield "# or masks; without any, each label of the table is a region. With --atlas,"
        yield "# conceptrsa init lists them here."
        yield '# V1 = "L_V1_ROI,R_V1_ROI"'
        yield "# hippocampus = [17, 53]"
        yield '# FFA = "mask:masks/sub-{subject}_FFA.nii.gz"'
        return
    labels = read_label_table(table).labels
    yield f"# {len(labels)} labels of {table.name}, each a region;"
    yield '# remove those you do not want, or join some: V1 = "L_V1,R_V1", visual = "*_Vis_*"'
    for name, numbers in labels.items():
        yield f"{_key(name)} = " + (_quoted(name) if not name.isdecimal() else f"{[*numbers]}")


def _wrapped(names: Iterable[str]) -> Iterator[str]:
    line = "#"
    for name in names:
        if len(line) + len(name) + 1 > WIDTH:
            yield line
            line = "#"
        line += f" {name}"
    yield line


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _quoted(name)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _listed(texts: Sequence[str]) -> str:
    return f"[{', '.join(map(_quoted, texts))}]"


def _is_picture(cell: str) -> bool:
    return cell.rpartition(".")[2].lower() in PICTURE_ENDINGS and "." in cell


def _is_number(cell: str) -> bool:
    if cell in READ_AS_MISSING:
        return True
    try:
        float(cell)
    except ValueError:
        return False
    return True
