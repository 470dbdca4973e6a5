"""Patterns and RDMs of regions from files without volumes, and run-wise betas of derivatives."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import supplied_data as data
from matplotlib.text import Text
from scipy.spatial.distance import squareform

from conceptrsa.analysis.betas.read import find_format, read_betas
from conceptrsa.analysis.brain.comparable import require_comparable
from conceptrsa.analysis.brain.patterns import SubjectPatterns, SubjectRdms, have_patterns
from conceptrsa.analysis.files.array_files import open_arrays
from conceptrsa.analysis.files.rdm_files import rdm_vector, reorder
from conceptrsa.analysis.library import compare
from conceptrsa.analysis.models.feature_files import ModelRdm
from conceptrsa.analysis.output.figures.models import draw_scores
from conceptrsa.analysis.output.figures.style import View
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.schema import RoiDefinition

N_PAIRS = len(data.STIMULI) * (len(data.STIMULI) - 1) // 2


def read_patterns(path: Path, **options) -> tuple[SubjectPatterns, ...]:
    subjects = read_betas(path, data.ROIS, **options)
    assert have_patterns(subjects)
    return subjects


def read_rdms(path: Path, **options) -> tuple[SubjectRdms, ...]:
    subjects = read_betas(path, data.ROIS, **options)
    assert not have_patterns(subjects)
    return subjects


def change(file: Path, **arrays: np.ndarray | None) -> None:
    """Replace arrays of a `.npz` file, or remove them."""
    with np.load(file) as content:
        kept = {**content, **arrays}
    np.savez(file, **{name: values for name, values in kept.items() if values is not None})


@pytest.mark.parametrize("kind", ["npz", "h5"])
@pytest.mark.parametrize("with_runs", [False, True])
def test_patterns_of_regions(tmp_path: Path, kind: str, with_runs: bool) -> None:
    data.write_roi_patterns(tmp_path, kind)
    assert find_format(tmp_path).name == "roi-patterns"
    for subject in read_patterns(tmp_path, with_runs=with_runs):
        assert subject.stimuli == data.STIMULI
        assert list(subject.rois) == ["visual", "hippocampus"]
        for roi in data.ROIS:
            found, expected = subject.rois[roi.name], data.patterns_of(subject.subject, roi)
            np.testing.assert_allclose(found.values, expected.mean(axis=0))
            np.testing.assert_allclose(found.odd, expected[0::2].mean(axis=0))
            np.testing.assert_allclose(found.even, expected[1::2].mean(axis=0))
            np.testing.assert_array_equal(found.voxels, np.flatnonzero(data.inside(roi)))
            if with_runs:
                np.testing.assert_array_equal(found.runs, expected)
                covariance = data.covariance_of(subject.subject, roi)
                np.testing.assert_array_equal(found.residual_covariance, covariance)
            else:
                assert found.runs is None and found.residual_covariance is None


def test_voxels_in_another_order_are_sorted_with_all_that_belongs_to_them(tmp_path: Path) -> None:
    data.write_roi_patterns(tmp_path)
    before = read_patterns(tmp_path, with_runs=True)[0].rois["visual"]
    order = np.random.default_rng(1).permutation(before.n_voxels)
    file = tmp_path / "sub-01_patterns.npz"
    with np.load(file) as content:
        betas, voxels = content["visual/betas"], content["visual/voxels"]
        covariance = content["visual/residual_covariance"]
    change(
        file,
        **{
            "visual/betas": betas[..., order],
            "visual/voxels": voxels[order],
            "visual/residual_covariance": covariance[np.ix_(order, order)],
        },
    )
    after = read_patterns(tmp_path, with_runs=True)[0].rois["visual"]
    for name in ("values", "odd", "even", "runs", "residual_covariance", "voxels"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))


def test_voxels_with_gaps_are_left_out_of_everything(tmp_path: Path) -> None:
    data.write_roi_patterns(tmp_path)
    file = tmp_path / "sub-02_patterns.npz"
    before = read_patterns(tmp_path, with_runs=True)[1].rois["hippocampus"]
    with np.load(file) as content:
        betas, covariance = content["hippocampus/betas"], content["hippocampus/residual_covariance"]
    betas[3, 2, 5] = np.nan
    covariance[9], covariance[:, 9] = np.nan, np.nan
    change(file, **{"hippocampus/betas": betas, "hippocampus/residual_covariance": covariance})
    kept = np.setdiff1d(np.arange(before.n_voxels), [5, 9])
    subject = read_patterns(tmp_path, with_runs=True)[1]
    after = subject.rois["hippocampus"]
    assert after.n_dropped == 2
    assert subject.notes == (
        "sub-02: voxels left out because a beta is not finite: hippocampus 2 of "
        f"{before.n_voxels}",
    )  # fmt: skip
    np.testing.assert_array_equal(after.voxels, before.voxels[kept])
    np.testing.assert_array_equal(after.runs, before.runs[:, :, kept])
    expected = before.residual_covariance[np.ix_(kept, kept)]
    np.testing.assert_array_equal(after.residual_covariance, expected)


def test_single_estimates_with_halves_and_regions_of_own_names(tmp_path: Path) -> None:
    for subject in ("a1", "b2"):
        rng = np.random.default_rng(ord(subject[0]))
        arrays = {"stimulus": np.array(["c", "a", "b"])}
        for region in ("V1", "hippocampus", "A1-left"):
            arrays |= {f"{region}/{part}": rng.random((3, 4)) for part in ("betas", "odd", "even")}
        data.write_arrays(tmp_path / f"sub-{subject}.h5", arrays)
    first, second = read_patterns(tmp_path)
    assert (first.subject, second.subject) == ("a1", "b2")
    assert list(first.rois) == ["hippocampus", "A1-left", "V1"]
    np.testing.assert_array_equal(second.rois["V1"].even, arrays["V1/even"][[1, 2, 0]])
    assert first.rois["V1"].runs is None


def test_run_wise_betas_join_the_derivatives(tmp_path: Path) -> None:
    data.write_derivatives(tmp_path)
    assert read_patterns(tmp_path, with_runs=True)[0].rois["visual"].runs is None
    data.write_run_betas(tmp_path)
    file = next((tmp_path / "sub-01" / "func").glob("*.h5"))
    with h5py.File(file, "r+") as content:
        for name in ("betas", "voxels", "residual_covariance"):
            path = f"hippocampus/{name}"
            kept = content[path][()][..., 1:]
            if name == "residual_covariance":
                kept = kept[1:]
            del content[path]
            content[path] = kept
    for subject in read_patterns(tmp_path, with_runs=True):
        lacking = int(subject.label == "sub-01")
        assert subject.sources[-1].name.endswith("_desc-runs_roibetas.h5")
        for roi in data.ROIS:
            found, runs = subject.rois[roi.name], data.patterns_of(subject.subject, roi)
            kept = slice(lacking if roi.name == "hippocampus" else 0, None)
            np.testing.assert_array_equal(found.runs, runs[..., kept])
            np.testing.assert_allclose(found.values, runs.mean(axis=0)[:, kept], rtol=1e-6)
            np.testing.assert_allclose(found.odd, runs[::2].mean(axis=0)[:, kept], rtol=1e-6)
            covariance = data.covariance_of(subject.subject, roi)[kept, kept]
            np.testing.assert_array_equal(found.residual_covariance, covariance)
            assert found.n_dropped == (lacking if roi.name == "hippocampus" else 0)
        assert len(subject.notes) == lacking
    assert read_patterns(tmp_path)[0].rois["visual"].runs is None


@pytest.mark.parametrize("form", ["square", "vector", "table"])
def test_brain_rdms(tmp_path: Path, form: str) -> None:
    if form == "table":
        data.write_rdm_tables(tmp_path)
    else:
        data.write_rdms(tmp_path, square=form == "square")
    assert find_format(tmp_path).name == "rdms"
    subjects = read_rdms(tmp_path)
    assert [subject.label for subject in subjects] == [f"sub-{s}" for s in data.SUBJECTS]
    for subject in subjects:
        assert subject.stimuli == data.STIMULI and not subject.notes
        assert list(subject.rois) == ["visual", "hippocampus"]
        for roi in data.ROIS:
            expected = data.rdm_of(subject.subject, roi)[None]
            np.testing.assert_allclose(subject.rois[roi.name], expected, atol=1e-12)


def test_brain_rdms_of_halves_are_folds(tmp_path: Path) -> None:
    data.write_rdms(tmp_path, halves=True)
    subject = read_rdms(tmp_path, participants=["02", "01"])[1]
    for roi in data.ROIS:
        halves = [data.rdm_of("02", roi, slice(half, None, 2)) for half in (0, 1)]
        np.testing.assert_allclose(subject.rois[roi.name], halves, atol=1e-12)
    assert "odd and even runs" in subject.notes[0]


def test_distances_are_reordered_as_a_matrix_would_be() -> None:
    rng = np.random.default_rng(3)
    rdm = rng.random(15)
    rows = [4, 1, 5, 0]
    expected = squareform(squareform(rdm)[np.ix_(rows, rows)])
    np.testing.assert_array_equal(reorder(rdm, rows), expected)


SQUARE = squareform(np.arange(1.0, 7.0))


@pytest.mark.parametrize(
    ("rdm", "message"),
    [
        (SQUARE[:3, :3], r"shape \(3, 3\) for 4 stimuli: give a 4 x 4 matrix, or the 6 distances"),
        (np.arange(5.0), r"shape \(5,\) for 4 stimuli"),
        (SQUARE + np.eye(4), "is not 0 on its diagonal"),
        (SQUARE + np.triu(np.ones((4, 4)), 1), "is not symmetric"),
        (np.where(SQUARE == 3, np.nan, SQUARE), "not finite"),
        (np.full(6, np.inf), "not finite"),
    ],
)
def test_what_is_no_rdm(rdm: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        rdm_vector(rdm, 4, "this")
    noisy = SQUARE.astype(np.float32) * (1 + np.random.default_rng(0).random((4, 4)) * 1e-7)
    np.testing.assert_allclose(rdm_vector(noisy, 4, "this"), np.arange(1.0, 7.0), rtol=1e-6)


def test_rdms_that_cannot_be_compared() -> None:
    rdm = np.arange(1.0, 7.0)[None]
    first = SubjectRdms("01", ("a", "b", "c", "d"), {"V1": rdm})
    second = SubjectRdms("02", ("a", "b", "c", "d"), {"V1": rdm * 2})
    require_comparable([first, second])
    for other, message in (
        (replace(second, rois={"V2": rdm}), "sub-01 has no region V2"),
        (replace(second, rois={"V1": rdm[:, :3]}), r"shape \(1, 3\) but 1 of 6 distances"),
        (replace(second, rois={"V1": np.concatenate([rdm, rdm])}), "for all or for none"),
        (replace(second, rois={"V1": rdm * np.nan}), "not finite"),
        (replace(second, rois={"V1": rdm * 0}), "are the same"),
        (first, "the comparison holds the subject 'sub-01' more than once"),
    ):
        with pytest.raises(InputError, match=message):
            require_comparable([first, other])


def test_nothing_in_a_file_is_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[str, ...]]:
            return (Path.touch, (tmp_path / "ran",))

    data.write_roi_patterns(tmp_path)
    change(tmp_path / "sub-01_patterns.npz", stimulus=np.array([Bomb()] * 8, dtype=object))
    with pytest.raises(InputError, match=r"sub-01_patterns\.npz cannot be read"):
        read_patterns(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_links_of_hdf5_lead_nowhere(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as content:
        content["betas"] = np.ones((3, 4))
    with h5py.File(tmp_path / "sub-01.h5", "w") as content:
        content["V1/betas"] = h5py.ExternalLink("secret.h5", "betas")
        content["stimulus"] = ["a", "b", "c"]
    with open_arrays(tmp_path / "sub-01.h5") as arrays:
        assert arrays.names == {"stimulus"}


def truncate(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def rename_region(file: Path) -> None:
    with np.load(file) as content:
        betas = content["visual/betas"]
    change(file, **{"../../evil/betas": betas})


def betas_of_two_stimuli(file: Path) -> None:
    for other in file.parent.iterdir():
        change(
            other,
            stimulus=np.array(["a", "b"]),
            **of_all_regions(np.random.default_rng(0).random((2, 5))),
        )


def of_all_regions(betas: np.ndarray) -> dict[str, np.ndarray | None]:
    """The same betas in every region, and nothing that belongs to others."""
    arrays: dict[str, np.ndarray | None] = {}
    for roi in data.ROIS:
        arrays |= {f"{roi.name}/betas": betas, f"{roi.name}/voxels": None}
        arrays[f"{roi.name}/residual_covariance"] = None
    return arrays


def set_arrays(**arrays: np.ndarray | None) -> Callable[[Path], None]:
    return lambda file: change(file, **arrays)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncate, "cannot be read"),
        (lambda file: file.write_bytes(b""), "cannot be read"),
        (lambda file: np.save(file.open("wb"), np.ones(3)), "is not a .npz file"),
        (rename_region, "names a region '../../evil'"),
        (betas_of_two_stimuli, "holds 2 stimuli of sub-01"),
        (set_arrays(stimulus=None), "has no array stimulus"),
        (set_arrays(stimulus=np.array(["a"] * 8)), "the stimuli of .* include 'a' more than once"),
        (set_arrays(stimulus=np.array(list("abcdefg"))), "has 8 rows for 7 stimuli"),
        (set_arrays(stimulus=np.array([1.5] * 8)), "is not a list of texts"),
        (set_arrays(**{"visual/betas": np.ones(8)}), r"visual/betas in .* is of shape \(8,\)"),
        (set_arrays(**{"visual/betas": np.array(["x"] * 8)}), "does not hold numbers"),
        (set_arrays(**{"visual/betas": np.full((8, 70), np.nan)}), "holds no voxel with data"),
        (
            set_arrays(**of_all_regions(np.full((8, 70), np.nan))),
            "is not finite in any voxel of any region",
        ),
        (
            set_arrays(**{"visual/odd": np.ones((8, 3))}),
            r"visual/odd in .* shape \(8, 3\): give \(8, 70\) to fit betas of \(4, 8, 70\)",
        ),
        (set_arrays(**{"visual/odd": np.ones((8, 70))}), "visual/odd in .* beside betas of single"),
        (set_arrays(**{"visual/voxels": np.zeros(70, int)}), "visual/voxels in .* a voxel twice"),
        (set_arrays(**{"visual/residual_covariance": np.ones((2, 2))}), r"is of shape \(2, 2\)"),
        (
            set_arrays(**{"visual/residual_covariance": np.triu(np.ones((70, 70)))}),
            "visual/residual_covariance in .* is not symmetric: give a covariance",
        ),
        (set_arrays(half=np.array(["odd", "odd", "even", "even"])), "must read odd, even"),
        (lambda file: file.with_name("sub-01.npz").write_bytes(b""), "are both of sub-01"),
    ],
)  # fmt: skip
def test_bad_patterns_are_one_sentence(
    tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    data.write_roi_patterns(tmp_path)
    assert data.inside(data.ROIS[0]).sum() == 70
    damage(tmp_path / "sub-01_patterns.npz")
    with pytest.raises(InputError, match=message) as raised:
        read_patterns(tmp_path, with_runs=True, betas_format="roi-patterns")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: change(folder / "sub-02.npz", **{"visual/rdm": np.eye(8)}), "diagonal"),
        (lambda folder: change(folder / "sub-02.npz", **{"visual/rdm": np.ones(9)}), "28 dist"),
        (lambda folder: change(folder / "sub-02.npz", **{"visual/rdm": None}), "no region visual"),
        (lambda folder: change(folder / "sub-02.npz", **{"V1/rdm": np.ones(28)}), "no region V1"),
        (lambda folder: (folder / "sub-02.npz").unlink(), None),
        (lambda folder: (folder / "sub-02_visual.tsv").write_text("x"), "are both of sub-02"),
    ],
)
def test_bad_rdms_are_one_sentence(
    tmp_path: Path, damage: Callable[[Path], object], message: str | None
) -> None:
    data.write_rdms(tmp_path)
    damage(tmp_path)
    if message is None:
        assert [subject.subject for subject in read_rdms(tmp_path)] == ["01", "03"]
        return
    with pytest.raises(InputError, match=message):
        read_rdms(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("stimulus\ta\tb\na\t0\t1\nb\t1\n", "line 3 has 2 cells"),
        ("stimulus\ta\tb\na\t0\t1\nc\t1\t0\n", "does not name the same stimuli"),
        ("stimulus\ta\ta\na\t0\t1\na\t1\t0\n", "the column 'a' more than once"),
        ("stimulus\ta\tb\na\t0\tx\nb\t1\t0\n", "is not a number"),
        ("stimulus\ta\tb\na\t0\t2\nb\t1\t0\n", "is not symmetric"),
        ("stimulus\ta\tb\na\t0\t1\nb\t1\t0\n", "holds other stimuli than sub-01's other"),
    ],
)
def test_bad_rdm_tables_are_one_sentence(tmp_path: Path, content: str, message: str) -> None:
    data.write_rdm_tables(tmp_path)
    (tmp_path / "sub-01_hippocampus.tsv").write_text(content)
    with pytest.raises(InputError, match=message):
        read_rdms(tmp_path)


def test_an_atlas_has_no_meaning_here(tmp_path: Path) -> None:
    data.write_rdms(tmp_path)
    with pytest.raises(InputError, match="has its own regions: leave --atlas"):
        read_betas(tmp_path, data.ROIS, atlas=tmp_path / "atlas.nii.gz")


@pytest.mark.parametrize("write", [data.write_roi_patterns, data.write_rdms, data.write_rdm_tables])
def test_a_subject_never_vanishes_silently(tmp_path: Path, write: Callable[[Path], object]) -> None:
    write(tmp_path)
    for file in tmp_path.glob("sub-02*"):
        file.unlink()
        file.symlink_to("absent")
    with pytest.raises(InputError, match=r"sub-02.* is a link .*--participant-label"):
        read_betas(tmp_path, data.ROIS)
    subjects = read_betas(tmp_path, data.ROIS, participants=["01", "03"])
    assert [subject.subject for subject in subjects] == ["01", "03"]
    for file in tmp_path.glob("sub-02*"):
        file.unlink()
    (tmp_path / "sub-02").mkdir()
    with pytest.raises(InputError, match="sub-02 holds no betas in the form"):
        read_betas(tmp_path, data.ROIS)


def test_a_region_that_is_a_link_without_content_in_all_does_not_vanish(tmp_path: Path) -> None:
    data.write_rdm_tables(tmp_path)
    for file in tmp_path.glob("*_hippocampus.tsv"):
        file.unlink()
        file.symlink_to("absent")
    with pytest.raises(InputError, match=r"sub-01_hippocampus\.tsv is a link to a file"):
        read_rdms(tmp_path)


@pytest.mark.parametrize(
    ("lacking", "message"),
    [
        (["hippocampus/rdm_odd", "hippocampus/rdm_even"], "hippocampus/rdm but no hippocampus/rdm"),
        (["hippocampus/rdm", "hippocampus/rdm_odd"], "rdm_even but no hippocampus/rdm_odd"),
        (["visual/rdm_even", "hippocampus/rdm_even"], "hippocampus/rdm but no hippocampus/rdm_e"),
    ],
)
def test_a_region_without_a_half_does_not_vanish(
    tmp_path: Path, lacking: list[str], message: str
) -> None:
    data.write_rdms(tmp_path, halves=True)
    for file in tmp_path.iterdir():
        change(file, **dict.fromkeys(lacking))
    with pytest.raises(InputError, match=f"sub-01.npz holds .*{message}.*for every region, or for"):
        read_rdms(tmp_path)


def test_halves_of_one_subject_alone_are_refused(tmp_path: Path) -> None:
    data.write_rdms(tmp_path, halves=True)
    parts = [f"{roi.name}/rdm_{half}" for roi in data.ROIS for half in ("odd", "even")]
    change(tmp_path / "sub-02.npz", **dict.fromkeys(parts))
    with pytest.raises(InputError, match="halves for all or for none"):
        read_rdms(tmp_path)


def test_voxels_without_signal_are_left_out_and_told(tmp_path: Path) -> None:
    data.write_roi_patterns(tmp_path)
    file = tmp_path / "sub-02_patterns.npz"
    with np.load(file) as content:
        betas = content["visual/betas"]
    betas[..., [1, 5, 9, 60, 61]] = 0
    betas[..., 7] = np.arange(1.0, len(betas) + 1)[:, None]
    betas[0, 0, 20] = np.nan
    change(file, **{"visual/betas": betas})
    subjects = read_patterns(tmp_path)
    assert [subject.notes for subject in subjects] == [
        (),
        (
            "sub-02: voxels left out because a beta is not finite: visual 1 of 70",
            "sub-02: voxels left out because their beta is the same for all stimuli (of all runs, "
            "a half or a run), as outside a mask: visual 6 of 70",
        ),
        (),
    ]


@pytest.mark.parametrize("name", ["", "n/a", "nan"])
def test_a_stimulus_or_region_called_as_a_missing_value(tmp_path: Path, name: str) -> None:
    data.write_rdms(tmp_path)
    for file in tmp_path.iterdir():
        with np.load(file) as content:
            stimuli = content["stimulus"]
        change(file, stimulus=np.where(stimuli == data.STIMULI[1], name, stimuli))
    with pytest.raises(InputError, match=f"sub-01.npz holds a stimulus called '{name}'"):
        read_rdms(tmp_path)
    data.write_rdms(tmp_path)
    for file in tmp_path.iterdir():
        change(file, **{f"{name}/rdm": np.arange(N_PAIRS, dtype=np.float64)})
    with pytest.raises(InputError, match=f"sub-01.npz holds a region called '{name}'"):
        read_rdms(tmp_path)


@pytest.mark.parametrize("kind", ["npz", "h5"])
def test_arrays_that_may_not_be_read(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    data.write_roi_patterns(tmp_path, kind)
    monkeypatch.setattr(*((np, "load") if kind == "npz" else (h5py, "File")), refuse)
    with pytest.raises(InputError, match=f"sub-01_patterns.{kind} is not readable: correct its"):
        read_patterns(tmp_path)


GIVEN = ("V1", "V10", "V2", "PIT", "FFC", "PHA1", "VVC")
"""Neither the order of the alphabet nor of the numbers."""


def write_in_order(folder: Path, kind: str, part: str, names: tuple[str, ...] = GIVEN) -> None:
    """Patterns or RDMs of regions, saved in an order."""
    shape = {"betas": (8, 5), "rdm": (28,)}[part]
    for subject in data.SUBJECTS:
        rng = np.random.default_rng(int(subject))
        arrays = {f"{name}/{part}": rng.random(shape) for name in names}
        arrays["stimulus"] = np.array(data.STIMULI)
        if kind == "npz":
            np.savez(folder / f"sub-{subject}.npz", **arrays)
            continue
        with h5py.File(folder / f"sub-{subject}.h5", "w", track_order=kind == "ordered h5") as file:
            for name, values in arrays.items():
                file[name] = values.astype("S") if name == "stimulus" else values


@pytest.mark.parametrize("part", ["betas", "rdm"])
@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("npz", GIVEN),
        ("ordered h5", GIVEN),
        ("h5", ("FFC", "PHA1", "PIT", "V1", "V2", "V10", "VVC")),  # which keeps no order
    ],
)
def test_regions_come_in_the_order_of_the_file(
    tmp_path: Path, part: str, kind: str, expected: tuple[str, ...]
) -> None:
    write_in_order(tmp_path, kind, part)
    assert all(tuple(subject.rois) == expected for subject in read_betas(tmp_path))
    first = [RoiDefinition(name, (1,)) for name in ("VVC", "V2")]
    rest = [name for name in expected if name not in ("VVC", "V2")]
    assert [*read_betas(tmp_path, first)[0].rois] == ["VVC", "V2", *rest]


def test_tables_of_regions_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    data.write_rdm_tables(tmp_path)
    for file in tmp_path.glob("*_visual.tsv"):
        file.rename(file.with_name(file.name.replace("visual", "V10")))
    for file in tmp_path.glob("*_hippocampus.tsv"):
        file.rename(file.with_name(file.name.replace("hippocampus", "V2")))
    assert [*read_betas(tmp_path)[0].rois] == ["V2", "V10"]


@pytest.mark.filterwarnings("ignore::conceptrsa.ComparisonWarning")
def test_tables_figures_and_report_keep_the_order_of_the_regions(tmp_path: Path) -> None:
    names = ["V2", "V10", "FFC"]
    write_in_order(tmp_path, "npz", "betas", tuple(names))
    rng = np.random.default_rng(5)
    models = [
        ModelRdm("one", "visual", data.STIMULI, rng.random(28)),
        ModelRdm("two", "language", data.STIMULI, rng.random(28)),
    ]
    few = {"n_permutations": 100, "n_random_draws": 1}
    result = compare(read_betas(tmp_path), models, **few)
    checked = 0
    for name, table in result.tables.items():
        for column in {"roi", "region"} & {*table.columns}:
            found = table[column].drop_duplicates()
            assert [region for region in found if region in names] == names, name
            checked += 1
    assert checked > 5
    drawn = draw_scores(View(result.result, result.result.primary, result.result.rois))
    shown = [text.get_text() for text in drawn.findobj(Text)]
    assert [text for text in shown if text in names] == names
    result.save(tmp_path / "out")
    page = (tmp_path / "out" / "group" / "report.html").read_text(encoding="utf-8")
    places = [page.index(f">{name}<", page.index("<body")) for name in names]
    assert places == sorted(places)
