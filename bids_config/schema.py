"""Configuration of a data set; every object checks its own values when it is made."""

import re
import string
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import ClassVar, Literal

from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import (
    clean_name,
    require_distinct,
    require_region_name,
    warn_of_case,
    warn_once,
)
from conceptrsa.bids_config.spaces import Space

Hrf = Literal["spm", "glover"]
NoiseModel = Literal["ar1", "ols"]
Baseline = Literal["explicit", "implicit"]
Pooling = Literal["joint", "mean"]
MASK = "mask:"
"""Stands before the file of a region that is a mask."""
OneBackRule = Literal["repeat", "column", "none"]


@dataclass(frozen=True)
class RunSelection:
    """Selection of the BOLD runs of the experiment.

    Attributes
    ----------
    task : str
        The task label, without `task-`.
    session_pattern : str or None
        Regular expression that the whole session label (without `ses-`) has to match; None takes
        every session, and runs that lie in none.
    space : str or None
        Space of fMRIPrep's runs, as `--space` takes it; None: T1w where it is there.
    """

    task: str
    session_pattern: str | None = None
    space: str | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[0-9a-zA-Z+]+", self.task):
            raise InputError(f"task = {self.task!r} must be a BIDS label: letters and digits only")
        if self.space is not None:
            Space.read(self.space)
        if self.session_pattern is not None:
            try:
                re.compile(self.session_pattern)
            except re.error as error:
                raise InputError(
                    f"session_pattern = {self.session_pattern!r} is not a regular expression "
                    f"({error})"
                ) from error

    def takes_session(self, session: str | None) -> bool:
        """Tell whether runs of this session (None: of no session) are selected."""
        if self.session_pattern is None:
            return True
        return session is not None and re.fullmatch(self.session_pattern, session) is not None


@dataclass(frozen=True)
class OneBackConfig:
    """Rule for one-back events, the repeats that a subject had to notice.

    Attributes
    ----------
    rule : {'repeat', 'column', 'none'}
        repeat: the condition equals that of the stimulus row before, noticed or not; column: one
        of `values` stands in `column`; none: the data set has no one-back events.
    column, values : str, tuple of str
        For the rule column only.
    """

    rule: OneBackRule
    column: str | None = None
    values: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _clean_names(self, "column", "values")
        if self.rule == "column" and (self.column is None or not self.values):
            raise InputError("column and values must both be given for rule = 'column'")
        if self.rule != "column" and (self.column is not None or self.values):
            raise InputError(
                f"column and values have no effect with rule = {self.rule!r}: drop them"
            )


@dataclass(frozen=True)
class EventsConfig:
    """Rules by which rows of an events file become conditions.

    Attributes
    ----------
    condition_column : str
        The column that names the stimulus shown.
    one_back : OneBackConfig
        Which stimulus rows are one-back events.
    type_column : str or None
        The column that tells stimuli from rest; None: every row is a stimulus.
    stimulus_types, fixation_types, ignored_types : tuple of str
        Values allowed in `type_column`; any other value is an error.
    """

    condition_column: str
    one_back: OneBackConfig
    type_column: str | None = None
    stimulus_types: tuple[str, ...] = ()
    fixation_types: tuple[str, ...] = ()
    ignored_types: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _clean_names(self, "condition_column", "type_column")
        _clean_names(self, "stimulus_types", "fixation_types", "ignored_types")
        if self.type_column is not None and not self.stimulus_types:
            raise InputError("stimulus_types must name at least one value of type_column")
        if self.type_column is None and self.event_types:
            raise InputError(
                "type_column is missing: stimulus_types, fixation_types and ignored_types "
                "are values of that column"
            )
        lists = "stimulus_types, fixation_types and ignored_types"
        require_distinct(self.event_types, f"{lists} hold", "keep one of them")

    @property
    def event_types(self) -> tuple[str, ...]:
        """All values that may stand in `type_column`."""
        return self.stimulus_types + self.fixation_types + self.ignored_types


@dataclass(frozen=True)
class GlmConfig:
    """Settings of the first-level model.

    Attributes
    ----------
    hrf : {'spm', 'glover'}
        Haemodynamic response function.
    high_pass_seconds : float
        Cut-off period of the high-pass filter (s).
    noise_model : {'ar1', 'ols'}
        Autoregressive noise of order one, or white noise.
    baseline : {'explicit', 'implicit'}
        Explicit: fixation is a regressor, as in the paper; implicit: it is what is left over.
    slice_time_reference : float
        Moment within a volume that its data stand for, as a share of the TR: 0.5 is TR/2.
    pooling : {'joint', 'mean'}
        Betas over runs: as of one model of all runs, or the mean of the runs' betas, far noisier
        where a picture is shown once a run.
    """

    hrf: Hrf = "spm"
    high_pass_seconds: float = 128.0
    noise_model: NoiseModel = "ar1"
    baseline: Baseline = "explicit"
    slice_time_reference: float = 0.5
    pooling: Pooling = "joint"

    def __post_init__(self) -> None:
        if not 0 < self.high_pass_seconds < float("inf"):
            raise InputError(
                f"high_pass_seconds = {self.high_pass_seconds} must be a number of seconds above 0"
            )
        if not 0 <= self.slice_time_reference <= 1:
            raise InputError(
                f"slice_time_reference = {self.slice_time_reference} must lie between 0 and 1"
            )


@dataclass(frozen=True)
class RoiDefinition:
    """A region of interest: a set of labels, FreeSurfer's `aparc+aseg` unless an atlas is given."""

    IN_WORDS: ClassVar[str] = (
        "a table of region names, each with a list of FreeSurfer label ids (whole numbers), or a "
        "text with names and patterns"
    )

    name: str
    labels: tuple[int, ...]

    def __post_init__(self) -> None:
        require_region_name(self.name, "the list of regions")
        if not self.labels:
            raise InputError(f"{self.name} must hold at least one label")
        if min(self.labels) < 1:
            raise InputError(f"{self.name} must hold label ids above 0 only, not {self.labels}")
        require_distinct(self.labels, f"{self.name} names the label", "keep one")


@dataclass(frozen=True)
class RegionChoice:
    """A region as the user writes it; see `conceptrsa.bids_config.region_choice.read_choice`.

    Attributes
    ----------
    name : str or None
        None: each name of the table that the pattern fits is a region of its own.
    words : tuple of str
        Label numbers, names and patterns.
    mask : Path or None
        Volume of the region alone.
    """

    name: str | None
    words: tuple[str, ...] = ()
    mask: Path | None = None

    def __str__(self) -> str:
        """Text that the user wrote."""
        said = f"{MASK}{self.mask}" if self.mask else ",".join(self.words)
        return said if self.name is None else f"{self.name}={said}"


@dataclass(frozen=True)
class StimuliConfig:
    """The pictures shown, and how a language model is told of them.

    Attributes
    ----------
    prompt : str
        Text for language models, with `{label}` for the label.
    labels_file : Path or None
        Table with the columns stimulus and label; None: the folder of pictures holds labels.tsv.
    count : int or None
        Number of different stimuli that every subject saw; None: not checked.
    """

    prompt: str = "a photo of {label}"
    labels_file: Path | None = None
    count: int | None = None

    def __post_init__(self) -> None:
        try:
            found = {name for _, name, _, _ in string.Formatter().parse(self.prompt) if name}
        except ValueError:  # of a brace without its other half
            found = set()
        if found != {"label"}:
            raise InputError(
                f"prompt = {self.prompt!r} must hold {{label}} and no other placeholder or brace"
            )
        if self.count is not None and self.count < 1:
            raise InputError(f"count = {self.count} must be at least 1")


@dataclass(frozen=True)
class DatasetConfig:
    """Everything that is particular to a data set.

    Attributes
    ----------
    name, description : str
    runs, events, stimuli, glm : RunSelection, EventsConfig, StimuliConfig, GlmConfig
    rois : tuple of RoiDefinition
    atlas : Path or None
        Label volume in the standard space of fMRIPrep's runs, whose labels the regions are;
        `{subject}` in its name stands for the label of each. None: FreeSurfer's labels.
    """

    name: str
    runs: RunSelection
    events: EventsConfig
    rois: tuple[RoiDefinition, ...]
    stimuli: StimuliConfig
    glm: GlmConfig = field(default_factory=GlmConfig)
    description: str = ""
    atlas: Path | None = None

    def __post_init__(self) -> None:
        if not self.rois:
            raise InputError("rois must hold at least one region")
        warn_of_case([roi.name for roi in self.rois], "region", self.name)
        for one, other in combinations(self.rois, 2):
            _look_at_overlap(one, other)


@dataclass(frozen=True)
class ComparisonConfig:
    """Part of a configuration that a comparison of supplied betas uses: no runs, no events."""

    name: str = ""
    rois: tuple[RoiDefinition | RegionChoice, ...] = ()
    stimuli: StimuliConfig = field(default_factory=StimuliConfig)
    description: str = ""

    def completed_by(self, other: DatasetConfig) -> "ComparisonConfig":
        """Take regions and stimuli of another configuration where this one says nothing of them."""
        says_nothing = self.stimuli == StimuliConfig()
        return replace(
            self,
            rois=self.rois or other.rois,
            stimuli=other.stimuli if says_nothing else self.stimuli,
        )


def _clean_names(config: object, *keys: str) -> None:
    """Spell names in a configuration that is being made as they are spelt where tables are read."""
    for key in keys:
        value = getattr(config, key)
        cleaned = tuple(map(clean_name, value)) if isinstance(value, tuple) else value
        object.__setattr__(config, key, clean_name(value) if isinstance(value, str) else cleaned)


def _look_at_overlap(one: RoiDefinition, other: RoiDefinition) -> None:
    """Refuse two regions with the same labels, and say which share some.

    A hemisphere lies within its region, which goes without saying.
    """
    a, b = set(one.labels), set(other.labels)
    shared = f"the labels {sorted(a & b)}"
    if a == b:
        raise InputError(f"rois {one.name} and {other.name} both have {shared}: keep one of them")
    if a & b and not (a < b or b < a):
        warn_once(f"the regions {one.name} and {other.name} share {shared}")
