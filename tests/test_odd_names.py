"""What looks the same to a person is the same, or is refused with both spellings."""

import json
import logging
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from odd_inputs import tables
from PIL import Image

from conceptrsa.analysis.betas.beta_index import Request
from conceptrsa.analysis.betas.brain_rdm_files import read_rdm_files
from conceptrsa.analysis.betas.conditions import ConditionRule, stimuli_of
from conceptrsa.analysis.betas.image_tables import read_image_table
from conceptrsa.analysis.betas.roi_files import read_roi_files
from conceptrsa.analysis.files.stimuli import read_stimuli
from conceptrsa.analysis.models.feature_files import (
    Features,
    read_categories,
    read_features,
    write_features,
)
from conceptrsa.analysis.models.model_set import gather_models
from conceptrsa.bids_config import load_dataset_config
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import (
    MOST_LISTED,
    PICTURE_ENDINGS,
    clean_name,
    require_one_of,
    stimulus_id,
)
from conceptrsa.bids_config.schema import EventsConfig, OneBackConfig, RoiDefinition
from conceptrsa.pipelines.bids.events import check_names, count_presentations, read_run_events

CONFIG = EventsConfig("stimulus_name", OneBackConfig("none"))
STIM_FILE = replace(CONFIG, condition_column="stim_file")
SAME = pytest.mark.parametrize(("odd", "plain"), tables.SAME.values(), ids=tables.SAME)
ALIKE = pytest.mark.parametrize(("one", "other"), tables.LOOK_ALIKE.values(), ids=tables.LOOK_ALIKE)


@SAME
def test_same_in_events(odd: str, plain: str, tmp_path: Path) -> None:
    file = tables.write(tmp_path / "x_events.tsv", tables.events_of([odd, plain, "other"]))
    events = read_run_events(file, CONFIG)
    assert count_presentations([events]) == {plain: 2, "other": 1}


@SAME
def test_same_in_categories(odd: str, plain: str, tmp_path: Path) -> None:
    text = f"stimulus\tkind\na\t{odd}\nb\t{plain}\nc\tother\n"
    categories = read_categories(tables.write(tmp_path / "categories.tsv", text))
    assert categories.models == {"kind": (plain, plain, "other")}
    np.testing.assert_array_equal(categories.rdm("kind"), [0, 1, 1])


@SAME
def test_same_in_pictures_labels_and_features(odd: str, plain: str, tmp_path: Path) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / f"{odd}.png")
    tables.write(tmp_path / "labels.tsv", f"stimulus\tlabel\n{plain}\ta  {odd}\n")
    (stimulus,) = read_stimuli(tmp_path)
    assert (stimulus.id, stimulus.label) == (plain, f"a {plain}")

    write_features([Features("m", "visual", (odd, "b"), np.eye(2))], tmp_path)
    (model,) = read_features(tmp_path)
    assert model.stimuli == (plain, "b")
    tables.write(tmp_path / "m.tsv", f"stimulus\t{plain}\tb\n{odd}\t0\t1\nb\t1\t0\n")
    (tmp_path / "m.npz").unlink()
    (model,) = read_features(tmp_path)
    assert model.stimuli == (plain, "b")


@SAME
def test_same_model(odd: str, plain: str, tmp_path: Path) -> None:
    tables.write(tmp_path / "models.tsv", f"model\tgroup\n{odd}\tvisual\n")
    tables.write(tmp_path / f"{plain}.tsv", "stimulus\tx\na\t1\nb\t2\n")
    assert [model.model for model in read_features(tmp_path)] == [plain]
    (tmp_path / f"{plain}.tsv").rename(tmp_path / f"{odd}.tsv")
    assert [model.model for model in read_features(tmp_path)] == [plain]
    tables.write(tmp_path / "models.tsv", f"model\tgroup\n{odd}\tvisual\n{plain}\tvisual\n")
    with pytest.raises(InputError, match="more than once"):
        read_features(tmp_path)


@SAME
def test_same_in_betas(odd: str, plain: str, tmp_path: Path) -> None:
    table = tables.write(tmp_path / "b.tsv", f"subject\tstimulus\tfile\n01\t{odd}\ta.nii\n")
    ((image,),) = read_image_table(table).values()
    assert image.stimulus == plain
    chosen, _ = stimuli_of([odd], ConditionRule(stimuli=(plain,)), table)
    assert chosen == {odd: plain}
    with pytest.raises(InputError, match="both stimulus"):
        stimuli_of([odd, plain], ConditionRule(), table)


@SAME
def test_same_in_arrays(odd: str, plain: str, tmp_path: Path) -> None:
    names = np.array([odd, "b", "c"])
    np.savez(tmp_path / "sub-01.npz", stimulus=names, **{"V1/rdm": np.ones(3)})
    (subject,) = read_rdm_files(Request(tmp_path, rois=()))
    assert set(subject.stimuli) == {plain, "b", "c"}
    np.savez(tmp_path / "sub-01.npz", stimulus=names, **{"V1/betas": np.eye(3)})
    (patterns,) = read_roi_files(Request(tmp_path, rois=()))
    assert set(patterns.stimuli) == {plain, "b", "c"}


@ALIKE
def test_look_alikes_are_refused_with_both_spellings(one: str, other: str, tmp_path: Path) -> None:
    both = f"{re.escape(ascii(one))} and {re.escape(ascii(other))}, which look the same"
    file = tables.write(tmp_path / "x_events.tsv", tables.events_of([one, other]))
    with pytest.raises(InputError, match=both):
        check_names([read_run_events(file, CONFIG)], tmp_path)
    text = f"stimulus\tkind\na\t{one}\nb\t{other}\nc\tx\n"
    with pytest.raises(InputError, match=both):
        read_categories(tables.write(tmp_path / "categories.tsv", text))
    for name in (one, other):
        Image.new("RGB", (2, 2)).save(tmp_path / f"{name}.png")
    with pytest.raises(InputError, match="which look the same but have different characters"):
        read_stimuli(tmp_path)
    tables.write(tmp_path / "models.tsv", f"model\tgroup\n{one}\tvisual\n{other}\tvisual\n")
    (tmp_path / "categories.tsv").unlink()
    with pytest.raises(InputError, match=both):
        read_features(tmp_path)


def test_names_that_differ_in_case_are_warned_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tables.write(tmp_path / "x_events.tsv", tables.events_of(["Dog", "dog", "CAT", "cat"]))
    events = read_run_events(file, CONFIG)
    with caplog.at_level(logging.WARNING):
        check_names([events, events], tmp_path)
    assert len(caplog.records) == 1
    assert "'CAT' and 'cat', which differ only in upper and lower case" in caplog.text
    assert "and 1 more such pairs" in caplog.text
    assert count_presentations([events]) == {"CAT": 1, "Dog": 1, "cat": 1, "dog": 1}
    for text in (
        "stimulus\tkind\na\tAlive\nb\talive\nc\tx\n",
        "stimulus\tkind\na\tx\nA\tx\nc\ty\n",
    ):
        caplog.clear()
        read_categories(tables.write(tmp_path / "categories.tsv", text))
        assert "differ only in upper and lower case" in caplog.text


@pytest.mark.parametrize(
    ("written", "stimulus"),
    [
        ("stimuli/apple.jpg", "apple"),
        ("./apple.JPEG", "apple"),
        ("apple.PNG", "apple"),
        ("apple.jpg.png", "apple"),
        ("cat/01.png", "cat/01"),
        ("cat\\01.png", "cat/01"),
        ("./stimuli/cat/01.png", "cat/01"),
        ("a/b/apple.v2.tiff", "a/b/apple.v2"),
        ("apple", "apple"),
        ("N/A", "N/A"),
        ("face/happy", "face/happy"),
        ("n01443537_22563.JPEG", "n01443537_22563"),
        ("v1.2", "v1.2"),
        (".png", ".png"),
        ("images/.png", "images/.png"),
    ],
)
def test_endings_are_no_part_of_a_stimulus(written: str, stimulus: str) -> None:
    assert stimulus_id(written) == stimulus
    assert stimulus_id(stimulus) == stimulus


def test_one_picture_written_in_several_ways(tmp_path: Path) -> None:
    shown = ["img/a.jpg", "./img/a.jpg", "stimuli/img/a.jpg", "img/a.JPG", "img\\a.jpg", "b.jpg"]
    file = tmp_path / "x_events.tsv"
    for config, stimulus in ((STIM_FILE, "a"), (CONFIG, "img/a")):
        tables.write(file, tables.events_of(shown, config.condition_column))
        events = read_run_events(file, config)
        check_names([events], tmp_path)
        assert count_presentations([events]) == {stimulus: 5, "b": 1}


def test_folders_tell_pictures_apart_in_other_columns(tmp_path: Path) -> None:
    names = ["cats/01.jpg", "dogs/01.jpg"]
    file = tables.write(tmp_path / "1_events.tsv", tables.events_of(names, "stim_file"))
    said = "name a condition_column in the data set configuration that tells them apart"
    with pytest.raises(InputError, match=said):
        read_run_events(file, STIM_FILE)
    events = read_run_events(tables.write(file, tables.events_of(names)), CONFIG)
    assert count_presentations([events]) == {"cats/01": 1, "dogs/01": 1}


@pytest.mark.parametrize("name", ["N/A", "NA", "nan", "NaN", "None", "null"])
@pytest.mark.parametrize("config", [CONFIG, STIM_FILE])
def test_missing_values_of_other_tools_are_no_stimuli(
    name: str, config: EventsConfig, tmp_path: Path
) -> None:
    text = tables.events_of(["a.jpg", name], config.condition_column)
    said = f"is '{name}' in line 3: give it its stimulus id (BIDS writes n/a for none)"
    with pytest.raises(InputError, match=re.escape(said)):
        read_run_events(tables.write(tmp_path / "x_events.tsv", text), config)


def test_endings_of_pictures_are_those_that_pillow_reads() -> None:
    Image.init()
    known = {ending[1:] for ending, kind in Image.EXTENSION.items() if kind in Image.OPEN}
    no_pictures = {
        "bufr", "bw", "emf", "fit", "flc", "fli", "ftc", "ftu", "gbr", "grib", "h5", "hdf", "iim",
        "im", "mpeg", "mpg", "ps", "pxr", "rgb", "rgba", "wmf",
    }  # fmt: skip
    assert known - no_pictures <= PICTURE_ENDINGS


def test_the_stim_file_column_matches_the_pictures(tmp_path: Path) -> None:
    shown = ["images/apple.jpg.png", "images/pear.JPEG", "sounds/bell"]
    file = tables.write(tmp_path / "x_events.tsv", tables.events_of(shown, "stim_file"))
    events = read_run_events(file, STIM_FILE)
    assert count_presentations([events]) == {"apple": 1, "bell": 1, "pear": 1}
    for name in ("apple.jpg.png", "pear.JPEG", "bell.pcx"):
        Image.new("RGB", (2, 2)).save(tmp_path / name)
    assert [stimulus.id for stimulus in read_stimuli(tmp_path)] == ["apple", "bell", "pear"]


@pytest.mark.parametrize("second", ["b/apple.jpg", "a/apple.png", "apple"])
def test_two_pictures_are_not_one_stimulus(second: str, tmp_path: Path) -> None:
    file = tables.write(
        tmp_path / "1_events.tsv", tables.events_of(["a/apple.jpg", second], "stim_file")
    )
    with pytest.raises(InputError, match="which are both stimulus 'apple'"):
        read_run_events(file, STIM_FILE)
    runs = []
    for name in ("a/apple.jpg", second):  # each in a run of its own
        tables.write(file, tables.events_of([name], "stim_file"))
        runs.append(read_run_events(file, STIM_FILE))
    with pytest.raises(InputError, match="which are both stimulus 'apple'"):
        check_names(runs, tmp_path)
    tables.write(tmp_path / "labels.tsv", "stimulus\tlabel\napple.jpg\tx\napple\ty\n")
    Image.new("RGB", (2, 2)).save(tmp_path / "apple.png")
    with pytest.raises(InputError, match=r"'apple\.jpg' and 'apple', which are both stimulus"):
        read_stimuli(tmp_path)


def test_configurations_are_cleaned_as_well(tmp_path: Path) -> None:
    odd, plain = tables.SAME["accent of its own"]
    config = EventsConfig(
        f"stimulus {odd}", OneBackConfig("column", f"press {odd}", (odd,)), f"type {odd}", (odd,),
        ("rest",), (f"cue {odd}",),
    )  # fmt: skip
    text = tables.text_of(
        ("onset", "duration", f"stimulus {plain}", f"type {plain}", f"press {plain}"),
        [("0", "1", "a", plain, "n/a"), ("1", "1", "a", plain, plain), ("2", "1", "b", "rest", ""),
         ("3", "1", "c", f"cue {plain}", "")],
    )  # fmt: skip
    events = read_run_events(tables.write(tmp_path / "x_events.tsv", text), config)
    assert events["kind"].tolist() == ["stimulus", "one-back", "fixation"]


def test_clean_names_stay() -> None:
    for name in ("n01443537_22563", "a b", "Café", "🍎", "日本", '5" disc', "x.y/z"):
        assert clean_name(name) == name
    assert json.dumps(clean_name("a\u200d\u2060\u034f\u3164b")) == '"ab"'


def test_regions_and_models_in_another_case_are_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = load_dataset_config("demo")
    replace(config, name="two", rois=(RoiDefinition("V1", (1,)), RoiDefinition("v1", (2,))))
    assert "two holds the region names 'V1' and 'v1', which differ only in upper" in caplog.text
    models = [Features(name, "visual", ("a", "b"), np.eye(2)) for name in ("Net", "net")]
    gather_models(models, ("a", "b"), "paper")
    assert "holds the model names 'Net' and 'net', which differ only in upper" in caplog.text


def test_a_stimulus_that_is_spelt_otherwise_is_named() -> None:
    models = [Features("m", "visual", ("Apple", "b"), np.eye(2))]
    with pytest.raises(InputError, match=r"stimulus apple .*\(there is 'Apple', which is spelt"):
        gather_models(models, ("apple", "b"), "paper")


@pytest.mark.parametrize(
    ("word", "known", "message"),
    [
        ("dag", ("cat", "dog"), "'dag' (did you mean 'dog'?): choose one of cat, dog"),
        (5, ("5", "6"), "5: choose one of 5, 6"),
        ("b", (), "'b'"),
        (
            "x", tuple(map(str, range(MOST_LISTED + 1))),
            f"'x': choose one of 0, 1, 2, 3, 4 and {MOST_LISTED - 4} more",
        ),
    ],
)  # fmt: skip
def test_a_word_that_is_not_known_is_refused(
    word: object, known: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InputError) as caught:
        require_one_of(word, known, "there is no animal")
    assert str(caught.value) == f"there is no animal {message}"
