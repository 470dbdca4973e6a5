"""A run started again repeats no finished step, notices damage, and has removed what is used up."""

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from small_workflow import BYTES, N_RUNS, execute, results

from conceptrsa.pipelines.execution.tidying import KEPT_BYTES
from conceptrsa.pipelines.workflows.records import RECORD_NAME

EACH_ONCE = Counter({
    **{f"_{step}{n}": 1 for step in ("corrected", "estimated", "saved") for n in range(N_RUNS)},
    "aligned": 1, "mask": 1, "pooled": 1,
})  # fmt: skip


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """nipype's loggers write more than the steps do."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("undisturbed")
    logging.disable(logging.CRITICAL)
    assert execute(folder, keep_work=True)[0] == EACH_ONCE
    return results(folder)


def truncate(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.truncate(path.stat().st_size // 2)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def overwrite(path: Path) -> None:
    """Bytes of the same number, and the time of before."""
    stat = path.stat()
    content = path.read_bytes()
    path.write_bytes(bytes(byte ^ 1 for byte in content))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def delete(path: Path) -> None:
    path.unlink()


DAMAGES: tuple[Callable[[Path], None], ...] = (truncate, empty, overwrite, delete)


def files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("keep_work", [True, False])
def test_a_finished_run_started_again_does_nothing(tmp_path: Path, keep_work: bool) -> None:
    execute(tmp_path, keep_work)
    before = {path: path.stat().st_mtime_ns for path in files_below(tmp_path / "results")}
    assert execute(tmp_path, keep_work)[0] == Counter()
    assert before == {path: path.stat().st_mtime_ns for path in files_below(tmp_path / "results")}


@pytest.mark.parametrize("keep_work", [True, False])
@pytest.mark.parametrize("damage", DAMAGES)
def test_any_damaged_file_of_the_working_folder_is_noticed(
    tmp_path: Path, undisturbed: dict[str, str], damage: Callable[[Path], None], keep_work: bool
) -> None:
    execute(tmp_path, keep_work)
    names = [path.relative_to(tmp_path) for path in files_below(tmp_path / "work")]
    assert {path.suffix for path in names} >= {".bin", ".txt", ".pklz", ".json"}
    # Each file once; every fourth of them by each kind of damage.
    for name in names[DAMAGES.index(damage) :: len(DAMAGES)]:
        if (tmp_path / name).exists():
            damage(tmp_path / name)
        # Something must be done again, or what was damaged would be left alone.
        (tmp_path / "results" / "result0.bin").unlink()
        (tmp_path / "results" / "result2.bin").write_bytes(b"damaged")
        execute(tmp_path, keep_work)
        assert results(tmp_path) == undisturbed, name


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(
    ("files", "repeated"),
    [
        # Nothing that is to be done takes these.
        (["corrected/mapflow/_corrected1/out0.bin", "aligned/out1.bin"], set()),
        (["estimated/mapflow/_estimated2/out0.bin"], set()),
        (["estimated/mapflow/_estimated2/result__estimated2.pklz"], {"_estimated2"}),
        (["pooled/out0.bin"], {"pooled"}),
        (["pooled/out0.bin", "estimated/mapflow/_estimated2/out0.bin"], {"pooled", "_estimated2"}),
        (
            ["pooled/out0.bin", "estimated/mapflow/_estimated2/out0.bin", "aligned/out2.bin"],
            {"pooled", "_estimated2", "aligned"},
        ),
        (["pooled/result_pooled.pklz"], {"pooled"}),
        (["aligned/_record.json"], {"aligned"}),
    ],
)
def test_only_what_is_damaged_and_needed_is_done_again(
    tmp_path: Path,
    undisturbed: dict[str, str],
    damage: Callable[[Path], None],
    files: list[str],
    repeated: set[str],
) -> None:
    execute(tmp_path, keep_work=True)
    (tmp_path / "results" / "result0.bin").unlink()
    for file in files:
        damage(tmp_path / "work" / "conceptrsa_wf" / file)
    done, _ = execute(tmp_path, keep_work=True)
    assert results(tmp_path) == undisturbed
    assert set(done) == {*repeated, "_saved0"}


def test_what_comes_after_a_damaged_file_takes_the_one_made_again(
    tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    execute(tmp_path, keep_work=True, word="other")
    overwrite(tmp_path / "work" / "conceptrsa_wf" / "aligned" / "out1.bin")
    done, _ = execute(tmp_path, keep_work=True)
    assert results(tmp_path) == undisturbed
    assert done["aligned"] == 1 and done["_corrected0"] == 0


def test_with_kept_files_a_changed_setting_repeats_only_what_depends_on_it(
    tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    execute(tmp_path, keep_work=True, word="other")
    assert results(tmp_path) != undisturbed
    done, _ = execute(tmp_path, keep_work=True)
    assert results(tmp_path) == undisturbed
    assert set(done) == {
        *(f"_estimated{number}" for number in range(N_RUNS)), "pooled", "_saved0", "_saved1",
    }  # fmt: skip


def test_with_removed_files_a_changed_setting_gives_the_same_as_a_new_run(
    tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    execute(tmp_path, word="other")
    execute(tmp_path)
    assert results(tmp_path) == undisturbed


def test_a_changed_raw_file_is_noticed_whatever_its_time(tmp_path: Path) -> None:
    execute(tmp_path)
    overwrite(tmp_path / "raw" / "run1.bin")
    done, _ = execute(tmp_path)
    changed = results(tmp_path)
    assert done["_corrected1"] == 1
    execute(tmp_path / "new")
    (tmp_path / "new" / "raw" / "run1.bin").write_bytes(
        (tmp_path / "raw" / "run1.bin").read_bytes()
    )
    execute(tmp_path / "new")
    assert changed == results(tmp_path / "new")


@pytest.mark.parametrize("keep_work", [True, False])
@pytest.mark.parametrize(
    "step", ["_corrected1", "aligned", "mask", "_estimated1", "estimated", "pooled", "_saved1"]
)
def test_after_a_failure_anywhere_only_the_rest_is_done(
    tmp_path: Path, undisturbed: dict[str, str], step: str, keep_work: bool
) -> None:
    before, _ = execute(tmp_path, keep_work, fails_at=step)
    assert before[step] == 0
    after, _ = execute(tmp_path, keep_work)
    assert results(tmp_path) == undisturbed
    assert before + after == EACH_ONCE


def test_intermediate_files_go_as_soon_as_nothing_needs_them(tmp_path: Path) -> None:
    _, kept = execute(tmp_path / "kept", keep_work=True)
    _, peak = execute(tmp_path / "removed")
    # Corrected, aligned and estimated runs, the mask and two pooled files.
    assert kept == (3 * N_RUNS + 3) * BYTES
    # Never more than the runs before and after a step, and the mask.
    assert peak <= (2 * N_RUNS + 1) * BYTES
    for path in files_below(tmp_path / "removed" / "work"):
        assert path.stat().st_size <= KEPT_BYTES or path.suffix != ".bin"
    assert list(results(tmp_path / "removed")) == list(results(tmp_path / "kept"))


def test_what_another_result_still_needs_is_not_removed(tmp_path: Path) -> None:
    execute(tmp_path, fails_at="_estimated1")
    aligned = tmp_path / "work" / "conceptrsa_wf" / "aligned"
    sizes = [(aligned / f"out{number}.bin").stat().st_size for number in range(N_RUNS)]
    assert sizes == [0, BYTES, 0]


def test_a_result_that_was_removed_with_all_intermediate_files_is_made_again(
    tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    execute(tmp_path)
    (tmp_path / "results" / "result2.bin").unlink()
    done, _ = execute(tmp_path)
    assert results(tmp_path) == undisturbed
    # What it does not depend on is left alone.
    assert done["mask"] == 1 and done["pooled"] == 0 and done["_saved2"] == 1


def test_records_are_written_for_every_step(tmp_path: Path) -> None:
    execute(tmp_path)
    steps = {path.parent for path in (tmp_path / "work").rglob("result_*.pklz")}
    assert steps == {path.parent for path in (tmp_path / "work").rglob(RECORD_NAME)}
