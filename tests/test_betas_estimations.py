"""Files of a subject that are of several estimations are refused, whatever left them so."""

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from conceptrsa.analysis.betas.own_derivatives import require_of_one_estimation
from conceptrsa.bids_config.errors import InputError
from conceptrsa.interfaces.python.data_sink import SaveDerivative

RUNS = ("bids:raw:run-1", "bids:raw:run-2")
STEM = "sub-01_task-x_space-MNI305_res-2"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """All betas, halves and run-wise betas of one subject, as one run leaves them."""
    made = {
        "all": (f"{STEM}_stat-effect_statmap.nii.gz", RUNS),
        "odd": (f"{STEM}_stat-effect_desc-odd_statmap.nii.gz", RUNS[:1]),
        "even": (f"{STEM}_stat-effect_desc-even_statmap.nii.gz", RUNS[1:]),
        "runs": (f"{STEM}_desc-runs_roibetas.h5", RUNS),
    }
    for name, sources in made.values():
        describe(tmp_path / name, sources=sources)
    return {kind: tmp_path / name for kind, (name, _) in made.items()}


def describe(file: Path, baseline: str = "explicit", sources: tuple[str, ...] = RUNS) -> None:
    content = {"Sources": list(sources), "Estimation": {"Baseline": baseline}}
    sidecar_of(file).write_text(json.dumps(content))


def sidecar_of(file: Path) -> Path:
    return file.with_name(f"{file.name.split('.')[0]}.json")


def require(files: dict[str, Path]) -> None:
    require_of_one_estimation(files["all"], [files["odd"], files["even"]], files["runs"])


def test_what_one_run_left_is_taken(files: dict[str, Path]) -> None:
    require(files)
    require_of_one_estimation(files["all"], [])
    for file in files.values():
        sidecar_of(file).unlink()
    require(files)


@pytest.mark.parametrize("kind", ["all", "odd", "even", "runs"])
def test_a_file_of_other_settings_is_refused(files: dict[str, Path], kind: str) -> None:
    sources = {"odd": RUNS[:1], "even": RUNS[1:]}.get(kind, RUNS)
    describe(files[kind], "implicit", sources)
    with pytest.raises(InputError, match=r"with other settings than .* level again"):
        require(files)


@pytest.mark.parametrize("kind", ["all", "odd", "even", "runs"])
def test_a_file_of_other_runs_is_refused(files: dict[str, Path], kind: str) -> None:
    describe(files[kind], sources=("bids:raw:run-3",))
    with pytest.raises(InputError, match="from other runs than"):
        require(files)


@pytest.mark.parametrize("kind", ["all", "odd", "even", "runs"])
def test_a_file_that_was_replaced_in_part_is_refused(files: dict[str, Path], kind: str) -> None:
    sidecar_of(files[kind]).unlink()
    with pytest.raises(InputError, match="has no sidecar"):
        require(files)


def test_run_wise_betas_of_before_are_named_with_their_remedy(files: dict[str, Path]) -> None:
    for kind in ("all", "odd", "even"):
        describe(files[kind], "implicit", {"odd": RUNS[:1], "even": RUNS[1:]}.get(kind, RUNS))
    with pytest.raises(InputError, match=r"roibetas\.h5 .*with --run-betas, or remove that file"):
        require(files)


def test_a_save_that_is_cut_short_leaves_no_sidecar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is killed between the image and its sidecar passes for nothing."""
    image, table = tmp_path / "in.nii", tmp_path / "in.tsv"
    nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), np.float32), np.eye(4)), image)
    table.write_text("volume\n0\n")
    name = f"{STEM}_stat-effect_statmap.nii.gz"
    save = SaveDerivative(
        in_file=str(image), base_dir=str(tmp_path), name=name, table_file=str(table),
        metadata={"Estimation": {"Baseline": "explicit"}},
    )  # fmt: skip
    save.run()
    assert sidecar_of(tmp_path / name).exists()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "copyfile", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save.run()
    assert not sidecar_of(tmp_path / name).exists()
