"""One entry for the brain's side of a comparison, in every form that people have it in."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from conceptrsa.analysis.betas.atlas_volumes import AtlasReading, n_maps, require_threshold
from conceptrsa.analysis.betas.beta_images import read_subjects
from conceptrsa.analysis.betas.beta_index import Request, SubjectImages
from conceptrsa.analysis.betas.brain_rdm_files import HALF_ENDINGS, read_rdm_files
from conceptrsa.analysis.betas.conditions import ConditionRule
from conceptrsa.analysis.betas.effect_maps import find_effect_maps, list_effect_maps
from conceptrsa.analysis.betas.glmsingle import find_outputs, list_glmsingle
from conceptrsa.analysis.betas.image_tables import list_table
from conceptrsa.analysis.betas.natural_scenes import find_sessions, list_natural_scenes
from conceptrsa.analysis.betas.nearest_form import describe_nearest
from conceptrsa.analysis.betas.own_derivatives import (
    holds_own_betas,
    list_derivatives,
    own_atlas,
    require_same_estimation,
)
from conceptrsa.analysis.betas.response_kind import MODEL_FILE, require_one_kind
from conceptrsa.analysis.betas.roi_files import files_of_subjects, read_roi_files
from conceptrsa.analysis.betas.roi_tables import (
    TABLE_SUFFIXES,
    is_roi_table,
    read_roi_tables,
    tables_of_subjects,
)
from conceptrsa.analysis.betas.single_trials import NO_STIMULUS, SubjectTrials, read_trials
from conceptrsa.analysis.betas.spm_images import holds_models, list_paper_layout, list_spm_folders
from conceptrsa.analysis.betas.statmaps import find_statmaps, list_statmaps
from conceptrsa.analysis.betas.things_fmri import find_responses, read_things
from conceptrsa.analysis.betas.volumes import Grid, load_volume
from conceptrsa.analysis.brain.comparable import require_comparable
from conceptrsa.analysis.brain.folds import have_halves
from conceptrsa.analysis.brain.patterns import SubjectPatterns, SubjectRdms, have_patterns
from conceptrsa.analysis.files.array_files import ARRAY_SUFFIXES, open_arrays
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.label_tables import files_of_atlas, read_label_table, table_beside
from conceptrsa.bids_config.names import (
    VOLUME_SUFFIXES,
    require_distinct,
    require_names,
    require_one_of,
    warn_of_case,
)
from conceptrsa.bids_config.recorded import RECORD, read_recorded
from conceptrsa.bids_config.region_choice import AnyRegion, choose_regions
from conceptrsa.bids_config.schema import RegionChoice
from conceptrsa.bids_config.tsv import read_table

NO_TRIALS = "needs no table of trials: leave --trials out"
Subjects = tuple[SubjectPatterns, ...] | tuple[SubjectRdms, ...]


@dataclass(frozen=True)
class BetasFormat:
    """A form that betas come in.

    Attributes
    ----------
    name : str
        Name for `--betas-format`.
    layout : str
        Layout of the files, for messages.
    detect : callable
        Whether a path holds it.
    list_images : callable, optional
        Gives the volumes of betas of each subject.
    list_trials : callable, optional
        Gives the responses to single trials of each subject, in a grid of voxels.
    read_regions : callable, optional
        Reads subjects, where their regions are those of the files and there are no volumes.
    has_own_atlas : bool
        Whether there is an atlas of volumes beside them.
    zscore : bool
        Whether single trials are z-scored by session where nothing else is said.
    options : frozenset of str
        Which of task, conditions, trials (a table that names them) and repeats it knows.
    covers : frozenset of str
        Forms whose files are a part of this one's.
    """

    name: str
    layout: str
    detect: Callable[[Path], bool]
    list_images: Callable[[Request], Iterator[SubjectImages]] | None = None
    list_trials: Callable[[Request], Iterator[SubjectTrials]] | None = None
    read_regions: Callable[[Request], Subjects] | None = None
    has_own_atlas: bool = False
    zscore: bool = False
    options: frozenset[str] = frozenset()
    covers: frozenset[str] = frozenset()


FORMATS = (
    BetasFormat(
        "table",
        "a table, *.tsv or *.csv with the columns subject, stimulus and file",
        lambda path: path.is_file() and path.suffix in TABLE_SUFFIXES and not _is_wide(path),
        list_table,
    ),
    BetasFormat(
        "derivatives",
        "this tool's derivatives, sub-XX/func/*_space-*_stat-effect_statmap.nii.gz",
        holds_own_betas,
        list_derivatives,
        has_own_atlas=True,
        options=frozenset({"task"}),
        covers=frozenset({"statmaps"}),
    ),
    BetasFormat(
        "nsd",
        "the Natural Scenes Dataset, nsddata_betas/.../subjXX/.../betas_sessionXX.hdf5 or .nii.gz",
        lambda path: any(find_sessions(path)),
        list_trials=list_natural_scenes,
        zscore=True,
        options=frozenset({"conditions", "trials", "repeats"}),
        covers=frozenset({"maps"}),
    ),
    BetasFormat(
        "glmsingle",
        "GLMsingle's outputs, sub-XX/TYPED_FITHRF_GLMDENOISE_RR.hdf5, .mat or .npy",
        lambda path: any(find_outputs(path)),
        list_trials=list_glmsingle,
        options=frozenset({"conditions", "trials", "repeats"}),
        covers=frozenset({"maps"}),
    ),
    BetasFormat(
        "things",
        "THINGS-fMRI in table format, sub-XX_ResponseData.h5 with its two *Metadata.csv",
        lambda path: bool(find_responses(path)),
        read_regions=read_things,
        zscore=True,
        options=frozenset({"conditions", "repeats"}),
        covers=frozenset({"roi-patterns", "roi-tables", "rdms"}),
    ),
    BetasFormat(
        "spm",
        f"SPM folders, sub-XX/.../{MODEL_FILE} and beta_*.nii",
        holds_models,
        list_spm_folders,
        options=frozenset({"conditions"}),
        covers=frozenset({"paper", "maps"}),
    ),
    BetasFormat(
        "statmaps",
        "statistical maps, sub-XX_*_contrast-NAME_stat-effect_statmap.nii.gz",
        lambda path: path.is_dir() and any(find_statmaps(path)),
        list_statmaps,
        options=frozenset({"task", "conditions"}),
        covers=frozenset({"maps"}),
    ),
    BetasFormat(
        "paper",
        "the paper's layout, sub-XX/<synset>_<image>*beta_00NN.nii",
        lambda path: any(
            file.name.endswith(VOLUME_SUFFIXES) for file in path.glob("sub-*/*beta_*")
        ),
        list_paper_layout,
        covers=frozenset({"maps"}),
    ),
    BetasFormat(
        "roi-patterns",
        "patterns of regions, sub-XX*.npz or .h5 with <roi>/betas",
        lambda path: _first_array_file_holds(path, "/betas"),
        read_regions=read_roi_files,
    ),
    BetasFormat(
        "roi-tables",
        "tables of regions, sub-XX_<roi>.csv or .tsv with the column stimulus and one per voxel",
        lambda path: any(map(is_roi_table, _tables(path))),
        read_regions=read_roi_tables,
        options=frozenset({"conditions", "repeats"}),
    ),
    BetasFormat(
        "rdms",
        "brain RDMs, sub-XX*.npz or .h5 with <roi>/rdm, or sub-XX_<roi>.tsv or .csv",
        lambda path: (
            _first_array_file_holds(path, "/rdm", *HALF_ENDINGS)
            or (path.is_dir() and any(not is_roi_table(file) for file in _tables(path)))
        ),
        read_regions=read_rdm_files,
    ),
    BetasFormat(
        "maps",
        "maps of effects, sub-XX/<stimulus>.nii.gz or sub-XX/run-1/<stimulus>_effect_size.nii.gz",
        lambda path: any(find_effect_maps(path)),
        list_effect_maps,
        options=frozenset({"conditions"}),
    ),
)
"""Forms in the order in which they are tried; the first that a path holds is used."""


def read_betas(
    path: Path,
    rois: Sequence[AnyRegion | RegionChoice] | None = None,
    *,
    atlas: Path | None = None,
    atlas_labels: Path | None = None,
    atlas_threshold: float | None = None,
    betas_format: str | None = None,
    participants: Sequence[str] | None = None,
    task: str | None = None,
    with_runs: bool = False,
    stimuli: Sequence[str] | None = None,
    conditions: Sequence[str] = (),
    exclude_conditions: Sequence[str] = (),
    trials: Path | None = None,
    min_repeats: int | None = None,
    zscore_sessions: bool | None = None,
    ignore: Collection[str] = (),
) -> Subjects:
    """Read the betas, patterns or RDMs of all subjects.

    Parameters
    ----------
    path : Path
        Folder, or table.
    rois : sequence of RoiDefinition, Region or RegionChoice, optional
        Regions; see `find_regions`. Where the data hold their own, choices among them; those of a
        configuration say their order only.
    atlas : Path, optional
        Label volume in the space of the betas, where the form needs one; in another grid it is
        resampled by nearest neighbour, with a note. `{subject}` in it stands for the subject's
        label without `sub-`.
    atlas_labels : Path, optional
        Table of its labels, by default the one beside it.
    atlas_threshold : float, optional
        Least probability of a voxel in a region, of atlases and masks of probabilities; by default
        0.25.
    betas_format : str, optional
        Name of one of `FORMATS`; by default what the path holds.
    participants : sequence of str, optional
        Labels with or without `sub-`; all by default.
    task : str, optional
        Task, if there are betas of several.
    with_runs : bool
        Whether betas of single runs and residual covariances are kept, where they are there.
    stimuli : sequence of str, optional
        The stimuli known: conditions and contrasts of none of them are left out, with a note.
    conditions, exclude_conditions : sequence of str
        Patterns (`*`, `?`) of the conditions or contrasts that are stimuli, and of those that are
        not.
    trials : Path, optional
        Of GLMsingle: the table that names the trials or conditions; see `read_trial_table`. Of
        NSD: `nsd_expdesign.mat`, where it is not in its place.
    min_repeats : int, optional
        Of single trials: how often a stimulus has to have been presented to a subject to be taken
        for it; by default twice, where half of every subject's stimuli were (NSD, THINGS-fMRI:
        three of them).
    zscore_sessions : bool, optional
        Of single trials: z-score each voxel over the trials of each session; by default as the
        authors of the form do.
    ignore : collection of {'orientation', 'space'}
        Take volumes whose header does not tell their orientation, or tells two, and an atlas of
        another space than that of the betas; with notes.

    Returns
    -------
    tuple of SubjectPatterns or of SubjectRdms
        That can be compared; see `require_comparable`.

    Raises
    ------
    InputError
        On a path that holds none of the forms, options that the form has no use for, and whatever
        is wrong with the data.
    """
    path = Path(path)
    require_threshold(atlas_threshold)
    form = find_format(path, betas_format)
    _require_options_of(
        form,
        path,
        atlas or atlas_labels,
        bool(task),
        conditions=bool(conditions or exclude_conditions),
        trials=trials is not None,
        repeats=min_repeats is not None or zscore_sessions is not None,
    )
    regions = find_regions(path, form, rois, atlas, atlas_labels)
    names = (roi.name for roi in regions if not isinstance(roi, RegionChoice))
    require_distinct(names, "the regions include", "give each its own name")
    want = Request(
        path=path,
        rois=regions,
        participants=None if participants is None else tuple(participants),
        task=task,
        conditions=ConditionRule(
            include=tuple(conditions),
            exclude=tuple(exclude_conditions),
            stimuli=None if stimuli is None else tuple(stimuli),
        ),
        with_runs=with_runs,
        atlas_reading=AtlasReading(atlas_threshold, "orientation" in ignore, "space" in ignore),
        trials=None if trials is None else Path(trials),
        min_repeats=min_repeats,
        zscore=zscore_sessions,
    )
    subjects: Subjects
    if form.read_regions is not None:
        subjects = form.read_regions(want)
    elif form.list_trials is not None:
        subjects = read_trials(list(form.list_trials(want)), want, atlas, form.zscore)
    else:
        assert form.list_images is not None
        subjects = read_subjects(list(form.list_images(want)), want, atlas, own_atlas(path))
    require_comparable(subjects)
    for subject in subjects:
        require_names(subject.stimuli, "stimulus", subject.origin)
    warn_of_case({name for subject in subjects for name in subject.stimuli}, "stimulus", path)
    warn_of_case({name for subject in subjects for name in subject.rois}, "region", path)
    if betas_format is None and (others := note_on_forms(path, form)):
        changed = replace(subjects[0], notes=(others, *subjects[0].notes))
        subjects = (changed, *subjects[1:])
    if not have_patterns(subjects):
        return subjects
    require_same_estimation(subjects)
    require_one_kind([(subject.kind, subject.sources[0]) for subject in subjects])
    return _with_note_on_halves(subjects)


@dataclass(frozen=True)
class FoundSubject:
    """Description of a subject's betas, found without reading them.

    Attributes
    ----------
    name : str
        Label such as `sub-01`.
    stimuli : tuple of str
    shape : tuple of int
        Shape of the volumes; empty if there are none.
    space : str or None
        Space of the volumes, from names and headers.
    regions : tuple of str
        Regions, if the data hold their own.
    """

    name: str
    stimuli: tuple[str, ...]
    shape: tuple[int, ...] = ()
    space: str | None = None
    regions: tuple[str, ...] = ()


def list_subjects(
    path: Path, betas_format: str | None = None, trials: Path | None = None
) -> tuple[BetasFormat, list[FoundSubject]]:
    """Find the form of betas, and what there is of each subject.

    Parameters
    ----------
    path, betas_format, trials
        As of `read_betas`.

    Raises
    ------
    InputError
        As `find_format`, and on what keeps the betas from being listed.
    """
    form = find_format(path, betas_format)
    if trials is not None and "trials" not in form.options:
        raise InputError(f"{path} ({form.layout}) {NO_TRIALS}")
    want = Request(path=path, rois=(), trials=trials)
    if form.read_regions is not None:
        return form, [
            FoundSubject(subject.label, subject.stimuli, regions=tuple(subject.rois))
            for subject in form.read_regions(want)
        ]
    if form.list_trials is not None:
        return form, [
            FoundSubject(
                trials.name,
                tuple(name for name in dict.fromkeys(trials.trials()) if name != NO_STIMULUS),
                trials.shape,
                regions=tuple(trials.rois),
            )
            for trials in form.list_trials(want)
        ]
    assert form.list_images is not None
    found = []
    for subject in form.list_images(want):
        file = subject.images[0].file
        grid = Grid.of(load_volume(file), file)
        stimuli = tuple(dict.fromkeys(image.stimulus for image in subject.images))
        found.append(FoundSubject(subject.name, stimuli, grid.shape, grid.space))
    return form, found


def _require_options_of(
    form: BetasFormat,
    path: Path,
    atlas: Path | None,
    task: bool,
    conditions: bool,
    trials: bool,
    repeats: bool,
) -> None:
    """Refuse options that a form has no use for, and a missing atlas that it needs."""
    problem = None
    if form.read_regions is not None and atlas is not None:
        problem = "has its own regions: leave --atlas and --atlas-labels out"
    elif task and "task" not in form.options:
        problem = "names no tasks: leave --task-id out"
    elif conditions and "conditions" not in form.options:
        problem = "holds betas of stimuli only: leave --conditions and --exclude-conditions out"
    elif trials and "trials" not in form.options:
        problem = NO_TRIALS
    elif repeats and "repeats" not in form.options:
        problem = "holds no single trials: leave --min-repeats and --zscore-sessions out"
    if problem:
        raise InputError(f"{path} ({form.layout}) {problem}")


def find_regions(
    path: Path,
    form: BetasFormat,
    rois: Sequence[AnyRegion | RegionChoice] | None = None,
    atlas: Path | None = None,
    atlas_labels: Path | None = None,
) -> tuple[AnyRegion | RegionChoice, ...]:
    """Find what makes up the regions that betas are read at.

    Parameters
    ----------
    path : Path
        Folder or table of the betas.
    form : BetasFormat
    rois : sequence of RoiDefinition, Region or RegionChoice, optional
        By default every label of the table of a given atlas, else those of the configuration that
        the path carries.
    atlas, atlas_labels : Path, optional
        As of `read_betas`.

    Returns
    -------
    tuple of RoiDefinition, Region or RegionChoice
        Choices where the data hold regions of their own, which only their files can tell.

    Raises
    ------
    InputError
        On a choice that is not there, or if nothing says what the regions are.
    """
    only_masks = bool(rois) and all(getattr(roi, "mask", None) for roi in rois or ())
    is_volumes = form.read_regions is None
    if is_volumes and atlas is None and not (form.has_own_atlas or only_masks):
        raise InputError(
            f"{path} ({form.layout}) needs a label volume in the space of the betas: give it with "
            "--atlas, or masks with --rois NAME=mask:FILE"
        )
    choices = [roi for roi in rois or () if isinstance(roi, RegionChoice)]
    if form.read_regions is not None or (rois is not None and not choices):
        return _own_regions(path, form, atlas) if rois is None else tuple(rois)
    file = atlas or (own_atlas(path) if form.has_own_atlas else None)
    words = [word for choice in choices for word in choice.words]
    by_name = not all(map(str.isdecimal, words)) or any(choice.name is None for choice in choices)
    table_file = atlas_labels
    if table_file is None and file is not None and (by_name or (atlas and rois is None)):
        table_file = table_beside(file)
    if choices or (atlas is not None and table_file is not None):
        first = files_of_atlas(file)[:1] if file is not None else []
        maps = n_maps(first[0]) if first else None
        table = None if table_file is None else read_label_table(table_file, maps)
        return choose_regions(rois or (), table, file)
    return _own_regions(path, form, atlas)


def _own_regions(path: Path, form: BetasFormat, atlas: Path | None) -> tuple[AnyRegion, ...]:
    """Regions of the configuration that a path carries; none where the data hold their own."""
    recorded = read_recorded(path)
    if recorded is not None:
        return recorded.rois
    if form.read_regions is not None:
        return ()
    if atlas is None:
        raise InputError(
            f"{path} lacks the data set configuration that it was made with ({RECORD}), which "
            "defines its regions: give it with --dataset-config"
        )
    raise InputError(
        f"{atlas} has no label table, so its regions are unknown: give --atlas-labels, --rois "
        "NAME=LABEL,LABEL, or --dataset-config (a TOML file, or ds001246 for the paper's regions)"
    )


def find_format(path: Path, name: str | None = None) -> BetasFormat:
    """Find the form of what a path holds, or the one of a name.

    Raises
    ------
    InputError
        If there is nothing, or no such form, with the nearest one and what is missing for it.
    """
    if not path.exists():
        raise InputError(f"{path} is missing: give the folder or the table of the betas")
    for form in FORMATS:
        if form.name == name or (name is None and form.detect(path)):
            return form
    if name is not None:
        require_one_of(name, [form.name for form in FORMATS], "betas cannot have the form")
    raise InputError(
        f"{path} holds no betas in a known form; {describe_nearest(path)} "
        "(docs/supplied_data.md shows every form)"
    )


def note_on_forms(path: Path, taken: BetasFormat) -> str | None:
    """Say which other forms a path holds besides the one that is taken, if any."""
    others = [
        form.name
        for form in FORMATS
        if form.name not in (taken.name, *taken.covers) and _is_held(form, path)
    ]
    if not others:
        return None
    return (
        f"{path} holds betas as {taken.name}, which is used, and as {' and '.join(others)}: "
        "--betas-format chooses another"
    )


def _with_note_on_halves(subjects: Sequence[SubjectPatterns]) -> tuple[SubjectPatterns, ...]:
    """Note, where only some subjects have halves of the runs, who keeps those from being used."""
    lacking = [not have_halves([subject]) for subject in subjects]
    if all(lacking) or not any(lacking):
        return tuple(subjects)
    first = lacking.index(True)
    note = (
        f"{subjects[first].label} has no betas of odd and even runs (the first of {sum(lacking)} "
        f"of {len(subjects)} subjects), so those of the other subjects are not used"
    )
    changed = replace(subjects[first], notes=(*subjects[first].notes, note))
    return (*subjects[:first], changed, *subjects[first + 1 :])


def _is_held(form: BetasFormat, path: Path) -> bool:
    try:
        return form.detect(path)
    except InputError:  # files that nobody asked for may be damaged
        return False


def _is_wide(table: Path) -> bool:
    return "file" not in read_table(table).columns and is_roi_table(table)


def _tables(path: Path) -> list[Path]:
    """Tables of regions or RDMs: a file that is given, or those of subjects in a folder."""
    if path.is_file():
        return [path] if path.suffix in TABLE_SUFFIXES and _is_wide(path) else []
    of_subjects = tables_of_subjects(path).values()
    return [next(filter(Path.is_file, files), files[0]) for files in of_subjects]


def _first_array_file_holds(path: Path, *endings: str) -> bool:
    for file in files_of_subjects(path):
        if file.suffix in ARRAY_SUFFIXES:
            with open_arrays(file) as arrays:
                return any(name.endswith(endings) for name in arrays.names)
    return False
