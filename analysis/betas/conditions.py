"""Match conditions of a linear model with stimuli."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import clean_name, some_of, stimulus_id

NOT_STIMULI = frozenset({
    "baseline", "blank", "catch", "fix", "fixation", "instruction", "instructions", "null",
    "oneback", "1back", "response", "responses", "rest",
})  # fmt: skip
"""Common names of conditions without a stimulus, letters and digits alone."""

NUISANCE = re.compile(
    r"(constant|intercept|drift\d+|cosine\d+|(trans|rot|t|r)[xyz](derivative1)?(power2)?"
    r"|csf\w*|whitematter\w*|globalsignal\w*|[atcw]compcor\d+|framewisedisplacement|(std)?dvars"
    r"|(non)?steadystate(outlier)?\d+|motionoutlier\d+|spike\d+)"
)
"""Letters and digits of what nilearn, fMRIPrep and SPM call regressors that are no conditions."""

OF_A_CONDITION = re.compile(r"(?P<name>.+?)_?(derivative|dispersion|delay_?(?P<delay>\d+))")
"""nilearn's names of a condition's further regressors, and of the bins of an FIR."""

OWN_PREFIX = "stimulus:"
"""Prefix of stimuli in this tool's SPM models."""

AS_WORDS = {"-": "minus", "+": "plus", ">": "gt", "<": "lt"}
"""nilearn's spelling of these in the names of contrasts."""


@dataclass(frozen=True)
class ConditionRule:
    """Rule by which conditions are chosen.

    Attributes
    ----------
    include : tuple of str
        Patterns (`*` and `?`) of which one has to fit; empty: all but `NOT_STIMULI`.
    exclude : tuple of str
        Patterns of which none may fit.
    stimuli : tuple of str or None
        The stimuli that there are; what is none of them is left out. Names are compared by their
        letters and digits, as BIDS allows no others in file names.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    stimuli: tuple[str, ...] | None = None


def stimuli_of(
    conditions: Sequence[str], rule: ConditionRule, source: Path
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Match conditions with stimuli.

    Parameters
    ----------
    conditions : sequence of str
        Names, each once.
    rule : ConditionRule
    source : Path
        Where they were found, for messages.

    Returns
    -------
    chosen : dict of str to str
        The stimulus of each condition that is one.
    left_out : tuple of str

    Raises
    ------
    InputError
        If none is a stimulus, two are the same one, a name could be two stimuli, or conditions
        are time bins of a response.
    """
    _require_no_bins(conditions, rule, source)
    chosen: dict[str, str] = {}
    condition_of: dict[str, str] = {}
    keys = {_key(condition) for condition in conditions}
    known = None if rule.stimuli is None else _KnownStimuli(rule.stimuli)
    for condition in conditions:
        stimulus = _stimulus_of(condition, rule, known, source)
        beside = OF_A_CONDITION.fullmatch(condition)
        of_other = beside is not None and _key(beside["name"]) in keys
        if stimulus is None or (of_other and not (known and condition in known.names)):
            continue
        same = condition_of.setdefault(stimulus, condition)
        if same != condition:
            raise InputError(
                f"the conditions {same} and {condition} of {source} are both stimulus {stimulus}: "
                "leave one out with --exclude-conditions"
            )
        chosen[condition] = stimulus
    left_out = tuple(name for name in conditions if name not in chosen)
    if not chosen:
        which = f" ({some_of(rule.stimuli)})" if rule.stimuli else ""
        raise InputError(
            f"no condition of {source} ({some_of(conditions)}) is a stimulus{which}: give "
            "conditions the names of the stimuli, or choose them with --conditions"
        )
    return chosen, left_out


class _KnownStimuli:
    """Stimuli by their names, and by the letters and digits of these."""

    def __init__(self, stimuli: Sequence[str]) -> None:
        self.names = frozenset(stimuli)
        self.by_key: dict[str, list[str]] = {}
        for stimulus in stimuli:
            for key in {_key(stimulus), _spelt_out(stimulus)}:
                self.by_key.setdefault(key, []).append(stimulus)


def _stimulus_of(
    condition: str, rule: ConditionRule, known: _KnownStimuli | None, source: Path
) -> str | None:
    name = stimulus_id(condition.removeprefix(OWN_PREFIX))
    if any(_fits(condition, pattern) for pattern in rule.exclude):
        return None
    if rule.include:
        if not any(_fits(condition, pattern) for pattern in rule.include):
            return None
    elif not (known and name in known.names) and (
        _key(name) in NOT_STIMULI or NUISANCE.fullmatch(_key(name))
    ):
        return None
    if known is None or name in known.names:
        return name
    # Names may lose what separates their digits, as in BIDS, but 1.0 is not 10.
    alike = known.by_key.get(_key(name), [])
    same = [stimulus for stimulus in alike if _between_digits(name) <= _between_digits(stimulus)]
    if len(same) > 1:
        raise InputError(
            f"the condition {condition} of {source} could be {same[0]} or {same[1]}: name one of "
            "these stimuli differently"
        )
    return same[0] if same else None


def _require_no_bins(conditions: Sequence[str], rule: ConditionRule, source: Path) -> None:
    """Refuse several time bins of one response, as of a model with a finite impulse response."""
    chosen = [name for name in conditions if not any(_fits(name, p) for p in rule.exclude)]
    if rule.include:
        chosen = [name for name in chosen if any(_fits(name, p) for p in rule.include)]
    known = None if rule.stimuli is None else {_key(stimulus) for stimulus in rule.stimuli}
    first: dict[str, str] = {}
    for condition in chosen:
        match = OF_A_CONDITION.fullmatch(condition)
        if match is None or match["delay"] is None or condition in (rule.stimuli or ()):
            continue
        if known is not None and _key(match["name"]) not in known:
            continue
        other = first.setdefault(_key(match["name"]), condition)
        if other != condition:
            raise InputError(
                f"{other} and {condition} of {source} are time bins of a finite impulse response "
                "model: give one beta per stimulus, of the canonical HRF"
            )


def _fits(name: str, pattern: str) -> bool:
    return fnmatchcase(clean_name(name).lower(), clean_name(pattern).lower())


def _key(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())


def _between_digits(name: str) -> set[int]:
    """Places, among the letters and digits, where something else stands between two digits."""
    gaps = re.finditer(r"(?<=\d)[\W_]+(?=\d)", name)
    return {len(_key(name[: gap.start()])) for gap in gaps}


def _spelt_out(name: str) -> str:
    return _key("".join(AS_WORDS.get(character, character) for character in name))
