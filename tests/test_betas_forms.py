"""Betas as volumes, in every layout: the same numbers come out, whatever they lie in."""

import logging
import shutil
import struct
import warnings
from collections.abc import Callable
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pytest
import supplied_data as data
from scipy.io import loadmat, savemat

from analysis.betas.beta_images import natural_order
from analysis.betas.conditions import ConditionRule, stimuli_of
from analysis.betas.read import FORMATS, find_format, read_betas
from analysis.betas.spm import regressor_names
from analysis.patterns import SubjectPatterns, have_patterns
from bids_config.errors import InputError
from pipelines.cli.compare import BETAS_FORMATS


def read(path: Path, **options) -> tuple[SubjectPatterns, ...]:
    subjects = read_betas(path, data.ROIS, **options)
    assert have_patterns(subjects)
    return subjects


def check(
    subjects: tuple[SubjectPatterns, ...],
    *,
    halves: bool = True,
    runs: bool = False,
    labels: tuple[str, ...] = data.SUBJECTS,
) -> None:
    """Compare with the betas that were written."""
    assert tuple(subject.subject for subject in subjects) == labels
    for subject in subjects:
        assert subject.stimuli == data.STIMULI
        assert list(subject.rois) == [roi.name for roi in data.ROIS]
        for roi in data.ROIS:
            found = subject.rois[roi.name]
            expected = data.patterns_of(subject.subject, roi)
            close = {"rtol": 1e-6, "atol": 1e-7}
            np.testing.assert_allclose(found.values, expected.mean(axis=0), **close)
            np.testing.assert_array_equal(found.voxels, np.flatnonzero(data.inside(roi)))
            if halves:
                np.testing.assert_allclose(found.odd, expected[0::2].mean(axis=0), **close)
                np.testing.assert_allclose(found.even, expected[1::2].mean(axis=0), **close)
            else:
                assert found.odd is None and found.even is None
            if runs:
                np.testing.assert_array_equal(found.runs, expected)
            else:
                assert found.runs is None


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every form of volumes, and an atlas."""
    folder = tmp_path_factory.mktemp("betas")
    data.write_atlas(folder / "atlas.nii.gz")
    data.write_per_subject_atlases(folder / "atlases")
    data.write_derivatives(folder / "derivatives")
    data.write_derivatives(folder / "without_halves", halves=False)
    data.write_paper_layout(folder / "paper")
    data.write_spm(folder / "spm")
    data.write_statmaps(folder / "statmaps")
    data.write_table(folder / "table.tsv")
    return folder


@pytest.mark.parametrize("name", ["spm", "statmaps", "table.tsv"])
@pytest.mark.parametrize("with_runs", [False, True])
def test_runs_are_averaged_and_give_halves(root: Path, name: str, with_runs: bool) -> None:
    subjects = read(
        root / name,
        atlas=root / "atlas.nii.gz",
        stimuli=data.STIMULI if name != "table.tsv" else None,
        with_runs=with_runs,
    )
    check(subjects, runs=with_runs)


@pytest.mark.parametrize("name", ["derivatives", "without_halves", "paper", "spm", "table.tsv"])
def test_each_form_is_known_by_its_content(root: Path, name: str) -> None:
    atlas = None if name in ("derivatives", "without_halves") else root / "atlas.nii.gz"
    expected = {"without_halves": "derivatives", "table.tsv": "table"}.get(name, name)
    assert find_format(root / name).name == expected
    check(read(root / name, atlas=atlas), halves=name not in ("paper", "without_halves"))


def test_the_command_line_names_all_forms() -> None:
    assert tuple(form.name for form in FORMATS) == BETAS_FORMATS


def test_a_form_can_be_named(root: Path) -> None:
    """Derivatives with --atlas are statistical maps with a table that names their volumes."""
    subjects = read(
        root / "derivatives",
        atlas=root / "atlas.nii.gz",
        betas_format="statmaps",
        task="perception",
    )
    check(subjects)


def test_an_atlas_for_each_subject(root: Path, tmp_path: Path) -> None:
    atlas = root / "atlases" / "sub-{subject}_dseg.nii.gz"
    check(read(root / "paper", atlas=atlas), halves=False)
    moved = np.roll(data.labels(), 1, axis=0)
    for subject in data.SUBJECTS:
        volume = moved if subject == "02" else data.labels()
        data.save(volume, tmp_path / f"sub-{subject}.mgz")
    first, second, _ = read(root / "paper", atlas=tmp_path / "sub-{subject}.mgz")
    mean = data.runs_of("02").astype(np.float64).mean(axis=0)
    expected = mean[:, np.isin(moved, (17,))]
    np.testing.assert_allclose(second.rois["hippocampus"].values, expected, rtol=1e-6)
    assert not np.array_equal(first.rois["visual"].voxels, second.rois["visual"].voxels)


def test_participants_can_be_chosen(root: Path) -> None:
    for name in ("derivatives", "paper", "spm", "statmaps", "table.tsv"):
        atlas = None if name == "derivatives" else root / "atlas.nii.gz"
        subjects = read(root / name, atlas=atlas, participants=["03", "sub-01"])
        assert [subject.label for subject in subjects] == ["sub-01", "sub-03"]
        with pytest.raises(InputError, match="holds nothing of sub-09: name participants"):
            read(root / name, atlas=atlas, participants=["01", "09"])


@pytest.mark.parametrize("suffix", [".nii.gz", ".mgz"])
def test_other_volume_formats_of_spm(root: Path, tmp_path: Path, suffix: str) -> None:
    for subject in data.SUBJECTS:
        folder = tmp_path / f"sub-{subject}"
        data.write_spm_model(folder, subject, range(1))
        for file in folder.glob("*.nii"):
            name = f"w{file.name.removesuffix('.nii')}{suffix}"
            data.save(np.asarray(nib.load(file).dataobj), folder / name)
            file.unlink()
    subject = read(tmp_path, atlas=root / "atlas.nii.gz")[0]
    expected = data.patterns_of("01", data.ROIS[0])[0]
    np.testing.assert_array_equal(subject.rois["visual"].values, expected)
    assert subject.rois["visual"].odd is None
    assert subject.notes == ("sub-01: conditions left out as no stimuli: fixation, one-back",)


def test_models_in_session_folders_are_one_after_the_other(root: Path, tmp_path: Path) -> None:
    for subject in data.SUBJECTS:
        for session, runs in enumerate((range(2), range(2, 4)), start=1):
            data.write_spm_model(tmp_path / f"sub-{subject}" / f"ses-{session}", subject, runs)
    check(read(tmp_path, atlas=root / "atlas.nii.gz", with_runs=True), runs=True)
    (tmp_path / "sub-02" / "ses-1").rename(tmp_path / "sub-02" / "old")
    with pytest.raises(InputError, match="sub-02 holds several models"):
        read(tmp_path, atlas=root / "atlas.nii.gz")


def test_models_of_matlab_7_3_are_read(tmp_path: Path) -> None:
    names = [name for _, _, name in data.spm_names()]
    with h5py.File(tmp_path / "SPM.mat", "w", userblock_size=512) as content:
        references = np.empty((len(names), 1), dtype=h5py.ref_dtype)
        for row, name in enumerate(names):
            text = content.create_dataset(f"#refs#/{row}", data=np.array([[ord(c)] for c in name]))
            references[row, 0] = text.ref
        content.create_dataset("SPM/xX/name", data=references)
    assert regressor_names(tmp_path / "SPM.mat") == names


@pytest.mark.parametrize("compressed", [False, True])
def test_names_are_read_as_scipy_does(tmp_path: Path, compressed: bool) -> None:
    names = ["Sn(1) a*bf(1)", "", "Sn(1) é — 犬*bf(1)", "b", "x" * 300]
    design = {"X": np.eye(3), "name": np.array(names, dtype=object)[None], "iG": []}
    model = {"swd": "here", "xY": {"P": ["p", "q"]}, "xX": design, "Sess": [{"U": 1}, {"U": 2}]}
    file = tmp_path / "SPM.mat"
    savemat(file, {"other": np.arange(3), "SPM": model}, do_compression=compressed)
    assert regressor_names(file) == names
    read_back = loadmat(file, simplify_cells=True)["SPM"]["xX"]["name"]
    assert [str(name) if len(name) else "" for name in read_back] == names


def test_damaged_models_end_in_one_sentence(tmp_path: Path) -> None:
    """SciPy's reader crashes the process on some of these."""
    data.write_spm_model(tmp_path, "01", range(1))
    file = tmp_path / "SPM.mat"
    intact = file.read_bytes()
    rng = np.random.default_rng(2)
    n_refused = 0
    for _ in range(300):
        damaged = bytearray(intact)
        for place in rng.integers(120, len(intact), size=rng.integers(1, 20)):
            damaged[place] = rng.integers(256)
        file.write_bytes(damaged[: rng.integers(len(intact) // 2, 2 * len(intact))])
        try:
            assert all(isinstance(name, str) for name in regressor_names(file))
        except InputError:
            n_refused += 1
    assert n_refused > 100


def test_conditions_are_matched_by_letters_and_digits() -> None:
    rule = ConditionRule(stimuli=("big-dog_2", "n01_3", "Rest"))
    chosen, left_out = stimuli_of(
        ["bigMinusDog2", "stimulus:n01_3", "Rest", "facesGtHouses", "fixation"], rule, Path("x")
    )
    assert chosen == {"bigMinusDog2": "big-dog_2", "stimulus:n01_3": "n01_3", "Rest": "Rest"}
    assert left_out == ("facesGtHouses", "fixation")
    with pytest.raises(InputError, match="a1 of x could be a_1 or A1"):
        stimuli_of(["a1"], ConditionRule(stimuli=("a_1", "A1")), Path("x"))
    with pytest.raises(InputError, match="a_1 and a1 of x are both stimulus a_1"):
        stimuli_of(["a_1", "a1"], ConditionRule(stimuli=("a_1", "b")), Path("x"))
    with pytest.raises(InputError, match=r"no condition of x \(rest, b\) is a stimulus \(a\)"):
        stimuli_of(["rest", "b"], ConditionRule(stimuli=("a",)), Path("x"))


def test_conditions_can_be_chosen_by_pattern(root: Path) -> None:
    atlas = root / "atlas.nii.gz"
    (first, *_) = read(root / "spm", atlas=atlas, conditions=["N01*"])
    assert first.stimuli == data.STIMULI[:7]
    (first, *_) = read(root / "spm", atlas=atlas, exclude_conditions=["*_22563", "n02*"])
    assert first.stimuli == data.STIMULI[1:7]
    (first, *_) = read(root / "spm", atlas=atlas, conditions=["n01*", "fix*"])
    assert first.stimuli == ("fixation", *data.STIMULI[:7])


def test_maps_of_all_runs_are_taken_before_their_mean(root: Path, tmp_path: Path) -> None:
    """Fitlins writes maps of runs, of sessions and of the subject side by side."""
    data.write_statmaps(tmp_path / "maps")
    for subject in data.SUBJECTS:
        for stimulus, beta in zip(data.STIMULI, data.runs_of(subject)[0], strict=True):
            end = f"contrast-{data.contrast(stimulus)}_stat-effect_statmap.nii.gz"
            folder = tmp_path / "maps" / f"sub-{subject}"
            data.save(5 * beta, folder / f"sub-{subject}_task-x_space-T1w_{end}")
            data.save(9 * beta, folder / f"sub-{subject}_ses-1_task-x_space-T1w_{end}")
    (first, *_) = read(tmp_path / "maps", atlas=root / "atlas.nii.gz", stimuli=data.STIMULI)
    expected = data.patterns_of("01", data.ROIS[0])
    visual = first.rois["visual"]
    np.testing.assert_allclose(visual.values, 5 * expected[0], rtol=1e-6)
    np.testing.assert_allclose(visual.odd, expected[0::2].mean(axis=0), rtol=1e-6)
    assert "sub-01: maps of single runs are used, not those of sessions" in first.notes


def test_runs_without_every_stimulus_give_what_they_can(root: Path, tmp_path: Path) -> None:
    data.write_table(tmp_path / "table.tsv")
    lines = (tmp_path / "table.tsv").read_text().splitlines()
    gone = f"01\t{data.STIMULI[3]}\t"
    kept = [line for line in lines if not (line.startswith(gone) and "\t9\t" in line)]
    (tmp_path / "table.tsv").write_text("\n".join(kept))
    subjects = read(tmp_path / "table.tsv", atlas=root / "atlas.nii.gz", with_runs=True)
    expected = data.patterns_of("01", data.ROIS[1])
    found = subjects[0].rois["hippocampus"]
    np.testing.assert_allclose(found.values[3], expected[1:, 3].mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found.odd[3], expected[2, 3], rtol=1e-6)
    np.testing.assert_allclose(found.values[2], expected[:, 2].mean(axis=0), rtol=1e-6)
    assert found.runs is None
    assert subjects[0].notes == (
        "sub-01: stimuli not in all runs, averaged over those that they are in: "
        f"{data.STIMULI[3]} (3 of 4)",
        f"sub-01: no betas of single runs, because {data.STIMULI[3]} is not in run 9",
    )
    kept = [line for line in kept if not (line.startswith(gone) and "\t11\t" in line)]
    (tmp_path / "table.tsv").write_text("\n".join(kept))
    subjects = read(tmp_path / "table.tsv", atlas=root / "atlas.nii.gz")
    assert subjects[0].rois["visual"].odd is None and subjects[1].rois["visual"].odd is not None
    fewer, no_halves, of_all = subjects[0].notes
    assert fewer.endswith(f"{data.STIMULI[3]} (2 of 4)")
    assert "is not in both an odd and an even run" in no_halves
    assert of_all.startswith("sub-01 has no betas of odd and even runs (the first of 1 of 3 ")
    assert not subjects[1].notes


def test_halves_of_a_table(root: Path, tmp_path: Path) -> None:
    lines = ["subject\tstimulus\tfile\thalf"]
    for subject in data.SUBJECTS:
        for row, stimulus in enumerate(data.STIMULI):
            for half, first in (("odd", 0), ("even", 1)):
                name = f"{subject}{stimulus}{half}.mgz"
                betas = data.runs_of(subject)[first::2, row].astype(np.float64).mean(axis=0)
                data.save(betas.astype(np.float32), tmp_path / name)
                lines.append(f"sub-{subject}\t{stimulus}\t{name}\t{half}")
    (tmp_path / "betas.tsv").write_text("\n".join(lines))
    check(read(tmp_path / "betas.tsv", atlas=root / "atlas.nii.gz"))


def test_a_voxel_without_data_in_one_half_is_left_out_of_all(root: Path, tmp_path: Path) -> None:
    data.write_derivatives(tmp_path)
    file = next((tmp_path / "sub-02" / "func").glob("*desc-even_statmap.nii.gz"))
    volumes = np.asarray(nib.load(file).dataobj).copy()
    volumes[2, 0, 0, 3] = np.nan
    data.save(volumes, file)
    for subject in read(tmp_path):
        dropped = int(subject.label == "sub-02")
        hippocampus = subject.rois["hippocampus"]
        assert hippocampus.n_dropped == dropped
        n_voxels = data.inside(data.ROIS[1]).sum() - dropped
        for part in (hippocampus.values, hippocampus.odd, hippocampus.even):
            assert part.shape == (len(data.STIMULI), n_voxels) and np.isfinite(part).all()
        assert len(subject.notes) == dropped


def test_runs_are_counted_by_their_value() -> None:
    runs = ["run-10", "run-2", "run-1", "ses-2_run-1", "ses-10_run-1"]
    assert sorted(runs, key=natural_order) == [
        "run-1", "run-2", "run-10", "ses-2_run-1", "ses-10_run-1",
    ]  # fmt: skip


def write_text(name: str, content: str) -> Callable[[Path], None]:
    return lambda root: (root / name).write_text(content)


def edit_table(old: str, new: str) -> Callable[[Path], None]:
    def edit(root: Path) -> None:
        table = root / "table.tsv"
        content = table.read_text()
        assert old in content
        table.write_text(content.replace(old, new, 1))

    return edit


def spm_without_conditions(root: Path) -> None:
    names = np.array(["Sn(1) R1", "Sn(1) constant"], dtype=object)
    savemat(root / "spm/sub-01/glm/SPM.mat", {"SPM": {"xX": {"name": names}}})


def two_stimuli(root: Path) -> None:
    lines = (root / "table.tsv").read_text().splitlines()
    wanted = data.STIMULI[:2]
    kept = [line for line in lines[1:] if line.split("\t")[1] in wanted]
    (root / "table.tsv").write_text("\n".join([lines[0], *kept]))


def same_stimulus(root: Path) -> None:
    edit_table(f"01\t{data.STIMULI[2]}", f"01\t{data.STIMULI[5]}")(root)


def other_grid(root: Path) -> None:
    data.save(data.labels(), root / "atlas.nii.gz", np.diag([-2.0, 2.0, 2.5, 1.0]))


def colours(root: Path) -> None:
    data.save(data.labels().astype([(channel, "u1") for channel in "RGB"]), root / "atlas.nii.gz")


def nan_patterns(root: Path) -> None:
    for file in (root / "spm" / "sub-01" / "glm").glob("beta_*.nii"):
        data.save(np.full(data.SHAPE, np.nan, np.float32), file)


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("table.tsv", edit_table("subject\t", "person\t"), "see to the column 'subject'"),
        ("table.tsv", edit_table("\tvolume", "\tweight"), "see to the column 'weight'"),
        ("table.tsv", same_stimulus, r"and 01_0\.nii\.gz are both betas of stimulus .* in run 9"),
        ("table.tsv", edit_table("\t0\n", "\t8\n"), "holds 8 volumes but volume 8 is asked for"),
        ("table.tsv", edit_table("\t0\n", "\tone\n"), "'one' is no whole number"),
        ("table.tsv", edit_table("\t0\n", "\t\n"), "holds 8 volumes: give one beta per file"),
        ("table.tsv", edit_table("maps/01_0", "maps/absent"), r"absent\.nii\.gz is missing"),
        ("table.tsv", edit_table("maps/01_0.nii.gz", "table.tsv"), "is not a volume file"),
        ("table.tsv", edit_table("01\tn", "\tn"), "row 2 has no subject"),
        ("table.tsv", write_text("table.tsv", ""), "is empty"),
        ("table.tsv", write_text("table.tsv", "subject\tstimulus\tfile\n"), "lists no beta"),
        ("table.tsv", two_stimuli, "holds 2 stimuli of sub-01"),
        ("spm", write_text("spm/sub-01/glm/SPM.mat", "x"), r"SPM\.mat cannot be read as a model"),
        ("spm", spm_without_conditions, "holds no condition"),
        ("spm", lambda root: (root / "spm/sub-02/glm/beta_0009.nii").unlink(), "is missing, which"),
        ("spm", nan_patterns, "is not finite in any voxel of any region"),
        ("spm", colours, "holds colours or complex numbers"),
        ("spm", other_grid, r"beta_0005\.nii lies on .* grid .*affines differ\)"),
        (
            "spm",
            lambda root: data.save(np.minimum(data.labels(), 1011), root / "atlas.nii.gz"),
            "holds no voxel with label 2011, which region visual needs",
        ),
        (
            "statmaps",
            lambda root: (root / "statmaps/sub-01/ses-1").joinpath("sub-01_ses-1_task-y_run-1_"
            "space-T1w_contrast-a_stat-effect_statmap.nii.gz").touch(),
            r"of several task \(x, y\): choose one by --task-id",
        ),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(
    tmp_path: Path, name: str, damage: Callable[[Path], object], message: str
) -> None:
    data.write_atlas(tmp_path / "atlas.nii.gz")
    writer = {"table.tsv": data.write_table, "spm": data.write_spm, "statmaps": data.write_statmaps}
    writer[name](tmp_path / name)
    damage(tmp_path)
    with pytest.raises(InputError, match=message) as raised:
        read(tmp_path / name, atlas=tmp_path / "atlas.nii.gz")
    assert "\n" not in str(raised.value)


def test_a_stimulus_missing_in_one_subject(root: Path, tmp_path: Path) -> None:
    data.write_statmaps(tmp_path)
    for file in (tmp_path / "sub-03").rglob(f"*{data.contrast(data.STIMULI[4])}_*"):
        file.unlink()
    with pytest.raises(InputError, match=f"sub-03 has no beta of stimulus {data.STIMULI[4]}"):
        read(tmp_path, atlas=root / "atlas.nii.gz", stimuli=data.STIMULI)
    with pytest.raises(InputError, match="only sub-01 in"):
        read(tmp_path, atlas=root / "atlas.nii.gz", participants=["01"])


def test_options_that_a_form_has_no_use_for(root: Path) -> None:
    with pytest.raises(InputError, match=r"needs a label volume .* --atlas FILE"):
        read(root / "spm")
    with pytest.raises(InputError, match="names no tasks: leave --task-id out"):
        read(root / "paper", atlas=root / "atlas.nii.gz", task="x")
    with pytest.raises(InputError, match="leave --conditions"):
        read(root / "derivatives", conditions=["n*"])
    with pytest.raises(InputError, match="is missing: give the folder"):
        read(root / "nowhere")
    with pytest.raises(InputError, match=r"atlases holds no betas in a form that is known \(table"):
        read(root / "atlases", atlas=root / "atlas.nii.gz")


def test_a_link_to_its_own_folder_ends(root: Path, tmp_path: Path) -> None:
    data.write_spm(tmp_path)
    (tmp_path / "sub-01" / "again").symlink_to(tmp_path / "sub-01")
    check(read(tmp_path, atlas=root / "atlas.nii.gz"))


def leads_nowhere(path: Path) -> None:
    """Put a link without content in the place of a file or folder."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    path.symlink_to("absent")


def emptied(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def with_figures_only(folder: Path) -> None:
    emptied(folder)
    (folder / "figures").mkdir()


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("paper", leads_nowhere, "sub-02 is a link to something that is missing"),
        ("spm", leads_nowhere, "sub-02 is a link to something that is missing"),
        ("statmaps", leads_nowhere, "sub-02 is a link to something that is missing"),
        ("derivatives", leads_nowhere, "sub-02 is a link to something that is missing"),
        ("statmaps", emptied, "sub-02 holds no betas of the form"),
        ("derivatives", emptied, "sub-02 holds no betas of the form"),
        ("derivatives", with_figures_only, "sub-02 holds no betas of the form"),
    ],
)
def test_a_subject_never_vanishes_silently(
    root: Path, tmp_path: Path, name: str, damage: Callable[[Path], object], message: str
) -> None:
    shutil.copytree(root / name, tmp_path / name)
    damage(tmp_path / name / "sub-02")
    atlas = None if name == "derivatives" else root / "atlas.nii.gz"
    with pytest.raises(InputError, match=f"{message}.*--participant-label"):
        read(tmp_path / name, atlas=atlas)
    with pytest.raises(InputError, match=f"{message}.*--participant-label"):
        read(tmp_path / name, atlas=atlas, participants=["01", "02"])
    subjects = read(tmp_path / name, atlas=atlas, participants=["01", "03"])
    assert [subject.subject for subject in subjects] == ["01", "03"]


def test_halves_that_are_links_without_content_do_not_vanish(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "derivatives", tmp_path / "derivatives")
    (file,) = tmp_path.glob("derivatives/sub-02/func/*_desc-odd_statmap.nii.gz")
    leads_nowhere(file)
    with pytest.raises(InputError, match=r"desc-odd_statmap\.nii\.gz is missing"):
        read(tmp_path / "derivatives")


def test_the_first_subject_without_halves_is_named(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "derivatives", tmp_path / "derivatives")
    for file in tmp_path.glob("derivatives/sub-02/func/*_desc-odd_statmap.*"):
        file.unlink()
    notes = [subject.notes for subject in read(tmp_path / "derivatives")]
    assert notes == [
        (),
        (
            "sub-02 has no betas of odd and even runs (the first of 1 of 3 subjects), so that "
            "those of the others cannot be used",
        ),
        (),
    ]


def test_a_run_with_a_zero_in_front_is_the_same_run(root: Path, tmp_path: Path) -> None:
    data.write_statmaps(tmp_path)
    folder = tmp_path / "sub-01" / "ses-1"
    (file,) = folder.glob(f"*_run-1_*{data.contrast(data.STIMULI[0])}_stat-effect*")
    shutil.copy(file, folder / file.name.replace("_run-1_", "_run-01_"))
    with pytest.raises(InputError, match=r"are both betas of stimulus .*: keep one"):
        read(tmp_path, atlas=root / "atlas.nii.gz", stimuli=data.STIMULI)
    file.unlink()
    check(read(tmp_path, atlas=root / "atlas.nii.gz", stimuli=data.STIMULI))


def header(place: int, kind: str, *values: float) -> Callable[[Path], None]:
    """Overwrite bytes of a NIfTI-1 header."""

    def damage(file: Path) -> None:
        content = bytearray(file.read_bytes())
        struct.pack_into(f"<{len(values)}{kind}", content, place, *values)
        file.write_bytes(content)

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        header(70, "h", 999),  # datatype
        header(112, "f", 1.0, np.nan),  # scl_slope, scl_inter
        header(108, "f", -8.0),  # vox_offset
        header(40, "h", 9),  # dim[0]
    ],
    ids=["datatype", "scl_inter", "vox_offset", "dim"],
)
def test_damaged_headers_are_one_sentence(
    root: Path,
    tmp_path: Path,
    damage: Callable[[Path], None],
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    shutil.copytree(root / "paper", tmp_path / "paper")
    file = sorted((tmp_path / "paper" / "sub-02").iterdir())[0]
    damage(file)
    level = logging.getLogger("nibabel.global").level
    with pytest.raises(InputError, match=r"beta_\d+\.nii cannot be read .*damaged"):
        read(tmp_path / "paper", atlas=root / "atlas.nii.gz")
    assert not caplog.records and not capfd.readouterr().err
    assert logging.getLogger("nibabel.global").level == level


def test_a_volume_that_may_not_be_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match=r"atlas\.nii\.gz may not be read: mend its permissions"):
        read(root / "paper", atlas=root / "atlas.nii.gz")


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 1e30, 2.0**63, 0.5])
def test_an_atlas_of_other_numbers_than_labels(root: Path, tmp_path: Path, value: float) -> None:
    volume = data.labels().astype(np.float64)
    volume[-1, -1, -1] = value
    data.save(volume, tmp_path / "atlas.nii.gz")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError, match="is not a volume of whole-number labels"):
            read(root / "paper", atlas=tmp_path / "atlas.nii.gz")


def test_shapes_are_told_only_where_they_differ(root: Path, tmp_path: Path) -> None:
    data.save(data.labels()[:5], tmp_path / "atlas.nii.gz")
    with pytest.raises(InputError, match=r"shape is \(6, 7, 5\), not \(5, 7, 5\)\): resample"):
        read(root / "paper", atlas=tmp_path / "atlas.nii.gz")


@pytest.mark.parametrize("name", ["nan", "NA", "null", "None"])
def test_a_stimulus_called_as_a_missing_value(root: Path, tmp_path: Path, name: str) -> None:
    data.write_table(tmp_path / "table.tsv")
    content = (tmp_path / "table.tsv").read_text()
    (tmp_path / "table.tsv").write_text(content.replace(data.STIMULI[2], name))
    with pytest.raises(InputError, match=f"stimulus called '{name}'.*: give it another name"):
        read(tmp_path / "table.tsv", atlas=root / "atlas.nii.gz")
