"""Multivoxel patterns of one or more subjects: what every source of betas is turned into."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from conceptrsa.analysis.arrays import Booleans, Floats, Integers, Singles
from conceptrsa.analysis.files.given_arrays import names_given, rows_given
from conceptrsa.analysis.files.rdm_files import (
    absent_stimuli,
    rdm_vector,
    reorder,
    without_stimuli,
)
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import clean_name, require_names, some_of

if TYPE_CHECKING:
    from typing_extensions import TypeIs

Half = Literal["odd", "even"]
"""The first, third, ... runs, or the second, fourth, ... ones."""

MIN_STIMULI = 3
"""Two stimuli give an RDM of one number, which correlates with nothing."""

NOTHING = 1e-6
"""Variation over stimuli below this share of the values is rounding, not data."""

RESIDUE = 1e-9
"""Variation below this share of the median voxel is rounding around 0."""


Betas = NDArray[np.floating[Any]]
"""Held in single precision where their source has no more; computed with in double precision."""


AFFINE_TOLERANCE_MM = 1e-3
"""Two affines that differ by no more describe the same grid."""


@dataclass(frozen=True)
class VoxelGrid:
    """The grid that a subject's voxels are numbered in.

    Attributes
    ----------
    shape : tuple of int
    affine : ndarray, (4, 4)
        From voxels to the world, RAS mm.
    space : str
        'MNI152' or 'MNI305': a standard space of that family.
    """

    shape: tuple[int, ...]
    affine: Floats
    space: str

    def is_same(self, other: "VoxelGrid") -> bool:
        """Whether voxels of the other are at the same place."""
        return (
            self.space == other.space
            and self.shape == other.shape
            and np.allclose(self.affine, other.affine, rtol=0, atol=AFFINE_TOLERANCE_MM)
        )


@dataclass(frozen=True, repr=False)
class RoiPatterns:
    """The betas of one subject in one region of interest.

    Means over halves or runs are computed when they are needed, so that ten thousand stimuli fit
    into memory. Make one by `from_array`.

    Examples
    --------
    >>> import numpy as np
    >>> import conceptrsa as crsa
    >>> runs = np.random.default_rng(0).normal(size=(4, 3, 20))  # (runs, stimuli, voxels)
    >>> crsa.RoiPatterns.from_array(runs)
    RoiPatterns(3 stimuli, 20 voxels, 4 runs)

    Attributes
    ----------
    whole : ndarray, (stimuli, voxels), or None
        Betas of all runs, finite, in the units of their source; None where they are the mean of
        `halves` or, if there are none, of `runs`.
    voxels : ndarray of int, (voxels,)
        Flat (C order) indices of the voxels in the volume's grid, increasing.
    n_dropped : int
        Voxels of the region left out because they hold no data.
    halves : tuple of two ndarray, (stimuli, voxels), or None
        Betas of the first, third, ... and of the second, fourth, ... runs, where known; where
        `whole` is not given either, they are means of `runs`.
    runs : ndarray, (runs, stimuli, voxels), or None
        Betas of each run in the order of the runs, where known.
    residual_covariance : ndarray, (voxels, voxels), or None
        Covariance of the linear model's residuals, shrunk so that it can be inverted.
    n_same : int
        Voxels among `n_dropped` whose betas are finite, but the same for all stimuli.
    n_averaged : ndarray of int, (2, stimuli), or None
        Number of presentations that each beta of `halves` is the mean of; None if the same in both.
    """

    whole: Betas | None
    voxels: Integers
    n_dropped: int = 0
    halves: tuple[Betas, Betas] | None = None
    runs: Betas | None = None
    residual_covariance: Singles | Floats | None = None
    n_same: int = 0
    n_averaged: Integers | None = None

    @classmethod
    def from_array(
        cls,
        betas: ArrayLike,
        voxels: ArrayLike | None = None,
        odd: ArrayLike | None = None,
        even: ArrayLike | None = None,
        residual_covariance: ArrayLike | None = None,
        source: str = "the array",
        name_of: Callable[[str], str] | None = None,
    ) -> "RoiPatterns":
        """Make the patterns of a region from an array.

        Parameters
        ----------
        betas : array_like, (stimuli, voxels) or (runs, stimuli, voxels)
            Of single runs: patterns are their means, over all runs and over every other run.
        voxels : ndarray of int, (voxels,), optional
            Flat indices of the voxels in a volume; by default they are numbered.
        odd, even : array_like, (stimuli, voxels), optional
            Betas of halves of the runs, where those of single runs are not given.
        residual_covariance : array_like, (voxels, voxels), optional
        source : str
            What the array is, for messages.
        name_of : callable, optional
            Gives what another array is, by the name of its parameter, for messages; by default
            'the array odd beside' the source.

        Raises
        ------
        InputError
            If an array is empty, has another number of dimensions, or does not fit the others.
        """
        name_of = name_of or (lambda part: f"the array {part} beside {source}")
        array = _kept(np.array(betas))
        if array.ndim not in (2, 3) or array.size == 0:
            raise InputError(
                f"{source} is of shape {array.shape}: give (stimuli, voxels) or (runs, stimuli, "
                "voxels)"
            )
        runs = array if array.ndim == 3 and len(array) > 1 else None
        n_voxels = array.shape[-1]
        given = {
            name: (None if value is None else np.array(value), shape)
            for name, value, shape in (
                ("voxels", voxels, (n_voxels,)),
                ("odd", odd, array.shape[-2:]),
                ("even", even, array.shape[-2:]),
                ("residual_covariance", residual_covariance, (n_voxels, n_voxels)),
            )
        }
        for name, (value, shape) in given.items():
            if value is not None and value.shape != shape:
                raise InputError(
                    f"{name_of(name)} is of shape {value.shape}: give {shape} to fit betas of "
                    f"{array.shape}"
                )
        places = given["voxels"][0]
        places = np.arange(n_voxels) if places is None else places.astype(np.intp)
        if len(np.unique(places)) < n_voxels:
            raise InputError(f"{name_of('voxels')} lists a voxel twice: keep one")
        halves = [given[half][0] for half in _HALVES]
        if runs is not None:
            for name, half in zip(_HALVES, halves, strict=True):
                if half is not None:
                    raise InputError(
                        f"{name_of(name)} is given beside betas of single runs, which already give "
                        "the halves: leave odd and even out"
                    )
        first, second = halves
        patterns = cls(
            whole=None if runs is not None else array.reshape(array.shape[-2:]),
            voxels=places,
            halves=None if first is None or second is None else (_kept(first), _kept(second)),
            runs=runs,
            residual_covariance=given["residual_covariance"][0],
        )
        order = np.argsort(patterns.voxels)
        return patterns if (np.diff(order) == 1).all() else patterns.of_voxels(order)

    def __repr__(self) -> str:
        """Shapes in place of numbers."""
        runs = "" if self.runs is None else f", {len(self.runs)} runs"
        return f"RoiPatterns({self.n_stimuli} stimuli, {self.n_voxels} voxels{runs})"

    @property
    def n_stimuli(self) -> int:
        """Number of stimuli."""
        return int(self._shape[0])

    @property
    def n_voxels(self) -> int:
        """Number of usable voxels."""
        return int(self._shape[1])

    @property
    def values(self) -> Floats:
        """Betas (stimuli, voxels) of all runs."""
        if self.whole is not None:
            return _double(self.whole)
        if self.halves is None:
            assert self.runs is not None
            return _mean(self.runs)
        odd, even = self.halves
        if self.n_averaged is None:
            return (_double(odd) + even) / 2
        n_odd, n_even = self.n_averaged[..., None]
        total: Floats = odd * n_odd
        total += even * n_even
        total /= n_odd + n_even
        return total

    @property
    def odd(self) -> Floats | None:
        """Betas (stimuli, voxels) of the first, third, ... runs, where known."""
        return self._half(0)

    @property
    def even(self) -> Floats | None:
        """Betas (stimuli, voxels) of the second, fourth, ... runs, where known."""
        return self._half(1)

    def _half(self, place: int) -> Floats | None:
        if self.halves is not None:
            return _double(self.halves[place])
        if self._are_of_runs:
            assert self.runs is not None
            return _mean(self.runs[place::2])
        return None

    @property
    def _are_of_runs(self) -> bool:
        """Whether the runs tell the betas of all runs and of the halves."""
        return self.whole is None and self.halves is None

    @property
    def held(self) -> tuple[NDArray[Any] | None, ...]:
        """Arrays from which all others are computed; None where one is missing."""
        odd, even = self.halves or (None, None)
        return self.whole, odd, even, self.runs, self.residual_covariance, self.n_averaged

    @property
    def _shape(self) -> tuple[int, ...]:
        """Shape of the betas, (stimuli, voxels)."""
        return next(array.shape[-2:] for array in self.held[:4] if array is not None)

    @property
    def has_halves(self) -> bool:
        """Whether there are betas of the odd and of the even runs."""
        return self.halves is not None or self._are_of_runs

    def betas_of(self, half: Half | None) -> Floats:
        """Betas (stimuli, voxels) of all runs, or of a half of them that is known to be there."""
        betas = self.values if half is None else self._half(0 if half == "odd" else 1)
        assert betas is not None
        return betas

    def runs_of(self, half: Half | None) -> Floats | None:
        """Betas (runs, stimuli, voxels) of all runs or of a half; None where not known."""
        if self.runs is None or half is None:
            return None if self.runs is None else _double(self.runs)
        return _double(self.runs[0 if half == "odd" else 1 :: 2])

    def without_runs(self) -> "RoiPatterns":
        """Give the betas of all runs and of the halves alone."""
        if self.runs is None or not self._are_of_runs:
            return replace(self, runs=None)
        if len(self.runs) == len(_HALVES):
            return replace(self, halves=(self.runs[0], self.runs[1]), runs=None)
        halves = _mean(self.runs[0::2]), _mean(self.runs[1::2])
        return replace(self, whole=self.values, halves=halves, runs=None)

    def of_stimuli(self, rows: Sequence[int]) -> "RoiPatterns":
        """Give the betas of some stimuli, in the order of `rows`."""
        if list(rows) == list(range(self.n_stimuli)):
            return self
        counts = self.n_averaged
        return replace(
            self,
            n_averaged=None if counts is None else counts[:, rows],
            **self._given_changed(lambda betas: betas[..., rows, :]),
        )

    def of_voxels(self, columns: Integers) -> "RoiPatterns":
        """Give some of the voxels; the others count as dropped."""
        covariance = self.residual_covariance
        return replace(
            self,
            voxels=self.voxels[columns],
            n_dropped=self.n_dropped + self.n_voxels - len(columns),
            residual_covariance=(
                None if covariance is None else covariance[np.ix_(columns, columns)]
            ),
            **self._given_changed(lambda betas: np.ascontiguousarray(betas[..., columns])),
        )

    def _given_changed(self, change: Callable[[Betas], Betas]) -> dict[str, Any]:
        """Arrays that are held, changed alike."""
        halves = self.halves
        return {
            "whole": None if self.whole is None else change(self.whole),
            "halves": None if halves is None else (change(halves[0]), change(halves[1])),
            "runs": None if self.runs is None else change(self.runs),
        }

    def with_data(self) -> "RoiPatterns":
        """Leave out voxels that are not finite somewhere, or the same for all stimuli."""
        covariance = self.residual_covariance
        # A voxel without covariance has none with any voxel, and its own is enough to tell.
        variances = None if covariance is None else np.diagonal(covariance)[None]
        betas: tuple[Betas | None, ...] = (self.values, self.odd, self.even, self.runs)
        if self._are_of_runs and self.runs is not None and len(self.runs) == len(_HALVES):
            betas = self.values, self.runs  # each half is one of the runs
        finite = finite_voxels(*betas, variances)
        varying = varying_voxels(*betas)
        complete = finite & varying
        if complete.all():
            return self
        n_same = self.n_same + int(np.count_nonzero(finite & ~varying))
        return replace(self.of_voxels(np.flatnonzero(complete)), n_same=n_same)


_HALVES: tuple[Half, ...] = get_args(Half)


_SINGLE = (np.float16, np.float32)


def _kept(betas: NDArray[Any]) -> Betas:
    """Give betas in single precision, where they have no more, or in double precision."""
    single = betas.dtype in _SINGLE
    return betas.astype(np.float32 if single else np.float64, copy=False)


def _double(betas: Betas) -> Floats:
    return betas.astype(np.float64, copy=False)


def _mean(runs: Betas) -> Floats:
    """Mean betas of runs, in double precision; those of a single run itself."""
    if len(runs) == 1:
        return _double(runs[0])
    mean: Floats = runs.mean(axis=0, dtype=np.float64)
    return mean


def finite_voxels(*arrays: NDArray[Any] | None) -> Booleans:
    """Find voxels (last axis) that are finite in all given arrays."""
    present = [array for array in arrays if array is not None]
    of_each = [np.isfinite(array).all(axis=tuple(range(array.ndim - 1))) for array in present]
    complete: Booleans = np.logical_and.reduce(of_each)
    return complete


def varying_voxels(*arrays: Betas | None) -> Booleans:
    """Find voxels that differ between stimuli in all given arrays (..., stimuli, voxels).

    Programs write 0 or another number outside of what was measured, in all runs or in one. Of
    fewer than three stimuli two may be the same by chance, so that nothing is known.
    """
    present = [array for array in arrays if array is not None]
    varying = np.ones(present[0].shape[-1], dtype=bool)
    for array in present:
        if array.shape[-2] < MIN_STIMULI:
            continue
        of_array = vary_between(_double(array.min(axis=-2)), _double(array.max(axis=-2)))
        varying &= of_array.all(axis=tuple(range(of_array.ndim - 1)))
    return varying


def vary_between(low: Floats, high: Floats) -> Booleans:
    """Tell of lowest and highest values (..., voxels) whether they differ by more than rounding."""
    with np.errstate(over="ignore", invalid="ignore"):
        spread = high - low
        some = spread[np.isfinite(spread) & (spread > 0)]
        residue = RESIDUE * np.median(some) if some.size else 0.0
        rounding = NOTHING * np.maximum(np.abs(low), np.abs(high))
        varying: Booleans = spread > np.maximum(residue, rounding)
    return varying


class SubjectData(ABC):
    """Name of a subject in tables and messages."""

    datum: ClassVar[str]
    subject: str
    stimuli: tuple[str, ...]
    sources: tuple[Path, ...]

    @abstractmethod
    def of_rows(self, rows: Sequence[int]) -> Self:
        """Give the data of some stimuli, in the order of `rows`."""

    @property
    def label(self) -> str:
        """The subject as BIDS spells it in tables and folders."""
        return f"sub-{self.subject}"

    @property
    def origin(self) -> str:
        """Source of the data, for messages."""
        return str(self.sources[0].parent) if self.sources else "the patterns given"


@dataclass(frozen=True, repr=False)
class SubjectPatterns(SubjectData):
    """The betas of one subject in every region. Make one by `from_arrays`.

    Attributes
    ----------
    subject : str
        Label without `sub-`.
    stimuli : tuple of str
        Stimulus ids, one per row of every region's values, sorted.
    rois : mapping of str to RoiPatterns
        By region name, in the order of presentation.
    sources : tuple of Path
        The files that the betas and regions were read from.
    notes : tuple of str
        Notes on reading that the user should know.
    estimation : mapping
        Settings of the estimation, from the sidecar of the betas; empty if they are not known.
    kind : {'t', 'z'} or None
        Statistic that the files hold in place of betas, according to their headers.
    grid : VoxelGrid or None
        Grid in which the regions' voxels are numbered, where it is in a standard space.

    Examples
    --------
    >>> import numpy as np
    >>> import conceptrsa as crsa
    >>> betas = np.random.default_rng(0).normal(size=(3, 20))  # (stimuli, voxels)
    >>> crsa.SubjectPatterns.from_arrays("01", ["cat", "dog", "car"], {"V1": betas})
    SubjectPatterns(sub-01: 3 stimuli; V1 20 voxels)
    """

    subject: str
    stimuli: tuple[str, ...]
    rois: Mapping[str, RoiPatterns]
    sources: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    estimation: Mapping[str, Any] = field(default_factory=dict)
    kind: str | None = None
    grid: VoxelGrid | None = None
    datum: ClassVar[str] = "beta"

    @classmethod
    def from_arrays(
        cls, subject: str, stimuli: Sequence[str], rois: Mapping[str, ArrayLike | RoiPatterns]
    ) -> "SubjectPatterns":
        """Make the patterns of a subject from arrays.

        Parameters
        ----------
        subject : str
            Label with or without `sub-`.
        stimuli : sequence of str
            Their names, in the order of the arrays' rows.
        rois : mapping of str to array_like
            Betas of each region by its name, (stimuli, voxels) or (runs, stimuli, voxels); see
            `RoiPatterns.from_array` for betas of halves and other particulars.

        Raises
        ------
        InputError
            If two stimuli have one name, an array does not fit the stimuli, or there is no region.

        Examples
        --------
        >>> import numpy as np
        >>> runs = np.random.default_rng(0).normal(size=(4, 3, 20))
        >>> SubjectPatterns.from_arrays("01", ["cat", "dog", "car"], {"visual": runs})
        SubjectPatterns(sub-01: 3 stimuli; visual 20 voxels)
        """
        label, names = _who(subject, stimuli, rois)
        rows = sorted(range(len(names)), key=lambda row: names[row])
        regions: dict[str, RoiPatterns] = {}
        for name, betas in rois.items():
            source = f"the array of {name} of sub-{label}"
            roi = (
                betas
                if isinstance(betas, RoiPatterns)
                else RoiPatterns.from_array(rows_given(betas, names, source), source=source)
            )
            if roi.n_stimuli != len(names):
                raise InputError(
                    f"{source} has {roi.n_stimuli} rows for {len(names)} stimuli: give one per "
                    "stimulus, as (stimuli, voxels) or (runs, stimuli, voxels)"
                )
            regions[name] = roi.of_stimuli(rows)
        return with_data_only(cls(label, tuple(names[row] for row in rows), regions))

    def of_rows(self, rows: Sequence[int]) -> Self:
        """Give the betas of some stimuli, in the order of `rows`."""
        return replace(
            self,
            stimuli=tuple(self.stimuli[row] for row in rows),
            rois={name: roi.of_stimuli(rows) for name, roi in self.rois.items()},
        )

    @property
    def is_derivative(self) -> bool:
        """Whether the participant level made the betas, so that it can make more of them."""
        return "Engine" in self.estimation

    @property
    def roi_without_halves(self) -> str | None:
        """The first region without betas of the odd and of the even runs, if any."""
        return next((name for name, roi in self.rois.items() if not roi.has_halves), None)

    def require_halves(self) -> None:
        """Check that there are betas of the odd and of the even runs of every region.

        Raises
        ------
        InputError
            Naming the subject, and what can be done without.
        """
        if roi := self.roi_without_halves:
            raise InputError(
                f"{self.origin} holds no betas of odd and even runs of {self.label} in {roi}, but "
                "voxels are chosen on one half and scored on the other: supply them, or choose "
                "--voxel-selection all, --selection-data same (circular, and labelled so) or "
                "--preset paper"
            )

    def __repr__(self) -> str:
        """What is there, without the numbers."""
        rois = ", ".join(f"{name} {roi.n_voxels} voxels" for name, roi in self.rois.items())
        return f"SubjectPatterns({self.label}: {len(self.stimuli)} stimuli; {rois})"


@dataclass(frozen=True, repr=False)
class SubjectRdms(SubjectData):
    """The RDMs of one subject in every region, without patterns. Make one by `from_arrays`.

    Examples
    --------
    Distances between cat and dog, cat and car, dog and car:

    >>> import conceptrsa as crsa
    >>> crsa.SubjectRdms.from_arrays("01", ["cat", "dog", "car"], {"V1": [0.2, 0.9, 0.8]})
    SubjectRdms(sub-01: 3 stimuli; V1)

    Attributes
    ----------
    subject : str
        Label without `sub-`.
    stimuli : tuple of str
        Stimulus ids, sorted.
    rois : mapping of str to ndarray, (folds, pairs)
        By region name, in the order of presentation; finite, pairs in `pdist` order.
    sources : tuple of Path
        The files that the RDMs were read from.
    notes : tuple of str
        Notes from reading, for the user.
    """

    subject: str
    stimuli: tuple[str, ...]
    rois: Mapping[str, Floats]
    sources: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    datum: ClassVar[str] = "RDM"

    @classmethod
    def from_arrays(
        cls, subject: str, stimuli: Sequence[str], rois: Mapping[str, ArrayLike]
    ) -> "SubjectRdms":
        """Make the RDMs of a subject from arrays.

        Parameters
        ----------
        subject : str
            Label with or without `sub-`.
        stimuli : sequence of str
            Their names, in the order of the arrays' rows, or of `pdist`.
        rois : mapping of str to array_like, (stimuli, stimuli) or (pairs,)
            The RDM of each region by its name. If all distances of a stimulus are NaN, the subject
            did not see it.

        Raises
        ------
        InputError
            If two stimuli have one name, an array is not an RDM of these stimuli, or there is no
            region.
        """
        label, named = _who(subject, stimuli, rois)
        given = {name: np.asarray(rdm, dtype=np.float64) for name, rdm in rois.items()}
        absent = absent_stimuli(given, named)
        names = tuple(name for name in named if name not in set(absent))
        rows = sorted(range(len(names)), key=lambda row: names[row])
        regions = {}
        for name, rdm in given.items():
            known = without_stimuli(rdm, named, absent)
            vector = rdm_vector(known, len(names), f"the RDM of {name} of sub-{label}")
            regions[name] = reorder(vector, rows)[None]
        notes = notes_on_absent(f"sub-{label}", absent)
        return cls(label, tuple(names[row] for row in rows), regions, notes=notes)

    def of_rows(self, rows: Sequence[int]) -> Self:
        """Give the RDMs of some stimuli, in the order of `rows`."""
        rois = {
            name: np.stack([reorder(rdm, list(rows)) for rdm in rdms])
            for name, rdms in self.rois.items()
        }
        return replace(self, stimuli=tuple(self.stimuli[row] for row in rows), rois=rois)

    def __repr__(self) -> str:
        """What is there, without the numbers."""
        return f"SubjectRdms({self.label}: {len(self.stimuli)} stimuli; {', '.join(self.rois)})"


def notes_on_absent(label: str, absent: Sequence[str]) -> tuple[str, ...]:
    """Say which stimuli have no distance in a subject's RDMs."""
    if not absent:
        return ()
    return (f"{label}: stimuli without a distance (NaN) count as not seen: {some_of(absent)}",)


def _who(
    subject: str, stimuli: Sequence[str], rois: Mapping[str, Any]
) -> tuple[str, tuple[str, ...]]:
    """Check names that arrays are given with: the subject's label, and the stimuli's."""
    label = clean_name(str(subject)).removeprefix("sub-")
    names = names_given(stimuli, f"the arrays of sub-{label}")
    if not isinstance(rois, Mapping) or not rois:
        raise InputError(f"sub-{label} has no region: give a dictionary such as {{'V1': array}}")
    for name in rois:
        if not isinstance(name, str):
            raise InputError(f"a region of sub-{label} is called {name!r}: give its name as text")
    require_names(rois, "region", f"sub-{label}")
    return label, names


Subjects = Sequence[SubjectPatterns] | Sequence[SubjectRdms]


def have_patterns(
    subjects: Subjects,
) -> "TypeIs[Sequence[SubjectPatterns]]":
    """Tell whether subjects come with patterns, or with RDMs only."""
    return all(isinstance(subject, SubjectPatterns) for subject in subjects)


def with_data_only(subject: SubjectPatterns) -> SubjectPatterns:
    """Leave out voxels that hold no data, and say how many in the subject's notes.

    Parameters
    ----------
    subject : SubjectPatterns

    Returns
    -------
    SubjectPatterns
        See `RoiPatterns.with_data`.
    """
    rois = {name: roi.with_data() for name, roi in subject.rois.items()}
    found = outdated = voxel_notes(subject)
    if any(rois[name] is not roi for name, roi in subject.rois.items()):
        found = voxel_notes(replace(subject, rois=rois))
    notes = [note for note in subject.notes if note not in outdated]
    return replace(subject, rois=rois, notes=(*notes, *found))


def voxel_notes(subject: SubjectPatterns) -> tuple[str, ...]:
    """Say which of a subject's voxels were left out, and which may lack data."""
    rois = subject.rois
    counts = {
        "left out because a beta is not finite": {
            name: roi.n_dropped - roi.n_same for name, roi in rois.items()
        },
        "left out because their beta is the same for all stimuli (of all runs, a half or a run), "
        "as "
        "outside a mask": {name: roi.n_same for name, roi in rois.items()},
        "kept, although their beta is exactly 0 for some stimuli": {
            name: _n_with_zeros(roi) for name, roi in rois.items()
        },
    }
    sizes = {name: roi.n_dropped + roi.n_voxels for name, roi in rois.items()}
    return tuple(
        f"{subject.label}: voxels {what}: "
        + ", ".join(f"{name} {n} of {sizes[name]}" for name, n in of_rois.items() if n)
        for what, of_rois in counts.items()
        if any(of_rois.values())
    )


def _n_with_zeros(roi: RoiPatterns) -> int:
    arrays = [array for array in (roi.values, roi.odd, roi.even) if array is not None]
    return int(np.count_nonzero(np.logical_or.reduce([(a == 0).any(axis=0) for a in arrays])))


EVERY_SUBJECT = "all subjects"


@dataclass(frozen=True)
class RegionCoverage:
    """The voxels of one region in one subject, or those that all subjects share.

    Attributes
    ----------
    roi, subject : str
        The subject is 'all subjects' in the row of voxels that no subject lacks; there is such a
        row where the region is the same set of voxels in every subject.
    n_voxels : int
        Voxels of the region.
    n_without_betas : int
        Number of voxels that lack a beta: in this subject, or in any.
    share_without_betas : float
    """

    roi: str
    subject: str
    n_voxels: int
    n_without_betas: int
    share_without_betas: float


def coverage_of(subjects: Sequence[SubjectPatterns]) -> tuple[RegionCoverage, ...]:
    """Count the voxels without betas of every region.

    Parameters
    ----------
    subjects : sequence of SubjectPatterns
    """
    rows = []
    for name in subjects[0].rois:
        regions = [subject.rois[name] for subject in subjects]
        sizes = [region.n_voxels + region.n_dropped for region in regions]
        for subject, region, size in zip(subjects, regions, sizes, strict=True):
            rows.append(_row(name, subject.label, size, region.n_dropped))
        seen = reduce(np.union1d, [region.voxels for region in regions])
        if len(set(sizes)) == 1 and len(seen) <= sizes[0]:
            shared = reduce(np.intersect1d, [region.voxels for region in regions])
            rows.append(_row(name, EVERY_SUBJECT, sizes[0], sizes[0] - len(shared)))
    return tuple(rows)


def _row(roi: str, subject: str, size: int, lacking: int) -> RegionCoverage:
    return RegionCoverage(roi, subject, size, lacking, lacking / size if size else 0.0)
