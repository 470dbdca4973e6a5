"""The packaged configurations are the paper's; each slip in a file is told in one sentence."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from conceptrsa.bids_config import load_dataset_config
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.reader import read_labels
from conceptrsa.bids_config.schema import DatasetConfig, GlmConfig, RoiDefinition

PAPER_ROIS = {
    "visual": {1011, 1021, 2011, 2021},
    "fusiform": {1007, 2007},
    "hippocampus": {17, 53},
    "parahippocampal": {1016, 2016},
}

SMALL = """
name = "small"
[runs]
task = "look"
session_pattern = "test[0-9]+"
[events]
condition_column = "stimulus_name"
type_column = "event_type"
stimulus_types = ["stimulus"]
fixation_types = ["rest"]
[events.one_back]
rule = "repeat"
[glm]
high_pass_seconds = 100
[rois]
visual = [1011, 2011]
visual-left = [1011]
[stimuli]
prompt = "a photo of {label}"
"""


def write_config(folder: Path, old: str = "", new: str = "") -> Path:
    assert old in SMALL
    file = folder / "small.toml"
    file.write_text(SMALL.replace(old, new, 1) if old else SMALL)
    return file


@pytest.mark.parametrize("name", ["ds001246", "demo"])
def test_packaged_rois_are_the_papers_with_each_hemisphere_alone(name: str) -> None:
    rois = {roi.name: set(roi.labels) for roi in load_dataset_config(name).rois}
    assert {region: rois[region] for region in PAPER_ROIS} == PAPER_ROIS
    assert len(rois) == 3 * len(PAPER_ROIS)
    for region in PAPER_ROIS:
        left, right = rois[f"{region}-left"], rois[f"{region}-right"]
        assert left | right == rois[region] and not left & right
        assert all(label == 17 or 1000 <= label < 2000 for label in left)
        assert all(label == 53 or 2000 <= label < 3000 for label in right)


def test_ds001246_takes_test_sessions_and_names_stimuli() -> None:
    config = load_dataset_config("ds001246")
    assert config.events.condition_column == "stimulus_name"
    assert config.events.one_back.rule == "repeat"
    assert config.stimuli.count == 50
    assert config.glm == GlmConfig("spm", 128.0, "ar1", "explicit", 0.5)
    assert config.runs.takes_session("perceptionTest04")
    for other in ("perceptionTraining04", "anatomy", "perceptionTest", None):
        assert not config.runs.takes_session(other)


def test_ds001246_labels_are_the_lemmas_of_its_fifty_images(shared_data: Path) -> None:
    table = load_dataset_config("ds001246").stimuli.labels_file
    assert table is not None
    rows = [line.split("\t") for line in table.read_text().splitlines()]
    source = (shared_data / "god_stimuli" / "labels_ImageNetTest.tsv").read_text().splitlines()
    lemmas = {line.split("\t")[0]: line.split("\t")[2] for line in source[1:]}
    assert rows[0] == ["stimulus", "label"]
    assert dict(rows[1:]) == lemmas
    assert len(lemmas) == 50 and lemmas["n03767745_109"] == "minaret"


def test_demo_has_ds001246s_events_and_an_implicit_baseline() -> None:
    demo, real = load_dataset_config("demo"), load_dataset_config("ds001246")
    assert demo.events == real.events
    assert demo.rois == real.rois
    assert demo.glm == replace(real.glm, baseline="implicit")
    assert demo.stimuli.labels_file is None
    assert demo.runs.takes_session(None) and demo.runs.takes_session("any")


def test_own_file_by_path(tmp_path: Path) -> None:
    (tmp_path / "labels.tsv").write_text("stimulus\tlabel\na\tan apple\n")
    file = write_config(tmp_path, "[stimuli]", '[stimuli]\nlabels_file = "labels.tsv"')
    config = load_dataset_config(file)
    assert config.stimuli.labels_file == tmp_path / "labels.tsv"
    assert config.stimuli.prompt == "a photo of {label}"
    assert config.glm.high_pass_seconds == 100.0 and config.glm.noise_model == "ar1"
    assert config.rois[1] == RoiDefinition("visual-left", (1011,))


MISTAKES = {
    "misspelt key": (
        'task = "look"',
        'taks = "look"',
        "unknown key 'taks' (did you mean 'task'?)",
    ),
    "unknown table": ("[glm]", "[gml]", "'gml' (did you mean 'glm'?)"),
    "missing key": ('task = "look"', "", "runs.task is missing"),
    "missing table": ('[events.one_back]\nrule = "repeat"', "", "events.one_back is missing"),
    "wrong type": ('task = "look"', "task = 7", "runs.task = 7 must be a text"),
    "empty text": ('task = "look"', 'task = ""', "runs.task = '' must be a text"),
    "text for a list": ('["stimulus"]', '"stimulus"', "events.stimulus_types = 'stimulus' must be"),
    "boolean for a number": ("= 100", "= true", "glm.high_pass_seconds = True must be a number"),
    "text for a table": ('[events.one_back]\nrule = "repeat"', 'one_back = "repeat"', "table with"),
    "value not allowed": ('"repeat"', '"twice"', "one of 'repeat', 'column', 'none'"),
    "task no label": ('"look"', '"look_at"', "letters and digits"),
    "broken pattern": ('"test[0-9]+"', '"test["', "not a regular expression"),
    "negative filter": ("= 100", "= -1", "[glm] high_pass_seconds = -1.0 must be"),
    "reference outside": ("= 100", "= 100\nslice_time_reference = 1.5", "between 0 and 1"),
    "noise model": ("= 100", '= 100\nnoise_model = "AR1"', "one of 'ar1', 'ols'"),
    "column rule without column": ('"repeat"', '"column"', "column and values must both"),
    "column without its rule": ('"repeat"', '"repeat"\ncolumn = "x"', "drop them"),
    "type named twice": ('["rest"]', '["rest", "stimulus"]', "hold 'stimulus' more than once"),
    "types without column": ('type_column = "event_type"', "", "type_column is missing"),
    "no stimulus type": ('stimulus_types = ["stimulus"]', "", "stimulus_types must name"),
    "empty region": ("[1011, 2011]", "[]", "[rois] visual must hold at least one label"),
    "labels no numbers": ("[1011, 2011]", '["1011"]', "must be a list of whole numbers"),
    "label zero": ("[1011, 2011]", "[0, 1011]", "above 0"),
    "label twice": ("[1011, 2011]", "[1011, 1011]", "names the label 1011 more than once"),
    "same region": (
        "visual-left = [1011]",
        "other = [2011, 1011]",
        "visual and other both have the labels [1011, 2011]",
    ),
    "region no name": ("visual-left", '"visual/left"', "remove the '/'"),
    "no regions": ("visual = [1011, 2011]\nvisual-left = [1011]", "", "at least one region"),
    "no placeholder": ("of {label}", "of label", "must hold {label}"),
    "other placeholder": ("of {label}", "of {label} in {run}", "no other placeholder"),
    "unbalanced": ("of {label}", "of {label", "no other placeholder or brace"),
    "key of the label table": (
        "[stimuli]",
        '[stimuli]\nlabels_file = "no.tsv"',
        "stimuli.labels_file: ",
    ),
    "no label table": ("[stimuli]", '[stimuli]\nlabels_file = "no.tsv"', "no.tsv is missing"),
    "label folder": (
        "[stimuli]",
        '[stimuli]\nlabels_file = "."',
        "is a folder: give the table",
    ),
    "broken TOML": ('task = "look"', 'task = "look', "not valid TOML"),
}


@pytest.mark.parametrize(("old", "new", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistakes_name_file_and_key(tmp_path: Path, old: str, new: str, message: str) -> None:
    file = write_config(tmp_path, old, new)
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        load_dataset_config(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("stimulus,label\na,b\n", "separates its columns by commas (stimulus,label)"),
        ("", "labels.tsv is empty"),
        ("stimulus\tlabel\na\t\n", "line 2: give each stimulus a label"),
        ("stimulus\tlabel\n", "lists no stimulus"),
        ("stimulus\tlabel\na\tb\na\tc\n", "line 3: 'a' has two labels: keep one"),
    ],
)
def test_label_tables_are_checked(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "labels.tsv").write_text(content)
    file = write_config(tmp_path, "[stimuli]", '[stimuli]\nlabels_file = "labels.tsv"')
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        load_dataset_config(file)
    assert str(caught.value).startswith(f"{file}: stimuli.labels_file: {tmp_path}")


def test_a_label_may_be_repeated(tmp_path: Path) -> None:
    (tmp_path / "labels.tsv").write_text("stimulus\tlabel\na\tb\na\tb\n")
    assert read_labels(tmp_path / "labels.tsv") == {"a": "b"}


def test_unknown_name_lists_the_packaged_ones() -> None:
    with pytest.raises(InputError, match=r"did you mean 'ds001246'\?.*demo, ds001246"):
        load_dataset_config("ds01246")


def test_a_flag_that_replaces_a_setting_is_checked_too() -> None:
    config: DatasetConfig = load_dataset_config("demo")
    with pytest.raises(InputError, match="task = 'a b'"):
        replace(config, runs=replace(config.runs, task="a b"))


def test_regions_that_share_labels_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = write_config(tmp_path, "visual-left = [1011]", "other = [1011, 3]")
    assert load_dataset_config(file).rois[1] == RoiDefinition("other", (1011, 3))
    assert "the regions visual and other share the labels [1011]" in caplog.text
