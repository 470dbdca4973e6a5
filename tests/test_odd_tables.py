"""Tables written elsewhere hold what they say, or are refused with their line."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from odd_inputs import tables
from PIL import Image

from conceptrsa.analysis.betas.image_tables import read_image_table, read_volume_table
from conceptrsa.analysis.files.stimuli import read_stimuli
from conceptrsa.analysis.models.feature_files import read_categories, read_features
from conceptrsa.bids_config import load_dataset_config
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.schema import EventsConfig, OneBackConfig
from conceptrsa.bids_config.tsv import read_table, write_table
from conceptrsa.interfaces.python.fmriprep_inputs import read_confounds_motion
from conceptrsa.pipelines.bids.events import count_presentations, read_run_events, write_run_events

CONFIG = EventsConfig("stimulus_name", OneBackConfig("none"))


@pytest.mark.parametrize("name", tables.WRITTEN_ELSEWHERE)
def test_events_written_elsewhere(name: str, tmp_path: Path) -> None:
    file = tables.write(tmp_path / "x_events.tsv", tables.WRITTEN_ELSEWHERE[name])
    events = read_run_events(file, CONFIG)
    assert count_presentations([events]) == {f"picture{n}": 4 for n in range(4)}
    assert events["onset"].tolist() == [2.0 * n for n in range(16)]
    assert (events["duration"] == 1).all()


@pytest.mark.parametrize("name", tables.REFUSED)
def test_events_that_are_refused(name: str, tmp_path: Path) -> None:
    content, said = tables.REFUSED[name]
    file = tables.write(tmp_path / "x_events.tsv", content)
    with pytest.raises(InputError, match=re.escape(said)) as caught:
        read_run_events(file, CONFIG)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_names_with_quotes_survive_every_step(tmp_path: Path) -> None:
    text = tables.events_of(['5" disc', '7" disc', "it's"])
    events = read_run_events(tables.write(tmp_path / "a.tsv", text), CONFIG)
    write_run_events(events, tmp_path / "b.tsv")
    assert '"' not in (tmp_path / "b.tsv").read_text().replace('5" disc', "").replace('7" disc', "")
    back = read_table(tmp_path / "b.tsv").frame(texts=["condition", "kind"])
    assert back["condition"].tolist() == ['5" disc', '7" disc', "it's"]
    assert back["onset"].tolist() == [0, 3, 6]


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    frame = pd.DataFrame({"name": ['a"b', "c\td\ne", "f"], "value": [1.5, np.nan, -2e-30]})
    write_table(tmp_path / "t.tsv", frame)
    back = read_table(tmp_path / "t.tsv").frame(texts=["name"])
    assert back["name"].tolist() == ['a"b', "c d e", "f"]
    np.testing.assert_array_equal(back["value"], frame["value"])


def test_an_empty_line_in_one_column_could_be_a_cell(tmp_path: Path) -> None:
    for text in ("a\n1\n\n3\n", "\na\n\n1\n"):
        with pytest.raises(InputError, match="line 3 is empty, which"):
            read_table(tables.write(tmp_path / "t.tsv", text))
    for text in ("a\n1\n3\n\n\n", "\ufeff\n\na\n1\n3"):
        assert read_table(tables.write(tmp_path / "t.tsv", text)).column("a") == ("1", "3")


BODY = "{0}\ta\tb\nx\t1\t2\ny\t3\n"
READERS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "features": (lambda file: read_features(file.parent), "model.tsv", BODY),
    "models": (lambda file: read_features(file.parent), "models.tsv", "model\tgroup\nm\n"),
    "categories": (read_categories, "categories.tsv", BODY),
    "labels": (lambda file: read_stimuli(file.parent), "labels.tsv", "stimulus\tlabel\nx\n"),
    "betas": (read_image_table, "betas.tsv", "subject\tstimulus\tfile\n01\ta\n"),
    "volumes": (read_volume_table, "statmap.tsv", "volume\tstimulus\n0\n"),
    "confounds": (
        lambda file: read_confounds_motion(file, 1), "confounds.tsv", "trans_x\ttrans_y\n1\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: text, "cells where the header has"),
        (lambda text: text.encode("utf-16"), "is UTF-16 text"),
        (lambda text: text.replace("\t", ","), "separates its columns by commas"),
    ],
)
def test_every_table_has_the_same_reader(
    reader: str, damage: Callable[[str], str | bytes], said: str, tmp_path: Path
) -> None:
    read, name, text = READERS[reader]
    if name == "model.tsv":
        tables.write(tmp_path / "models.tsv", "model\tgroup\nmodel\tvisual\n")
    if name == "labels.tsv":
        Image.new("RGB", (2, 2)).save(tmp_path / "x.png")
    file = tables.write(tmp_path / name, damage(text.format("stimulus")))
    with pytest.raises(InputError, match=said) as caught:
        read(file)
    assert str(file) in str(caught.value)


def test_the_label_table_of_a_configuration_too(tmp_path: Path) -> None:
    config = Path(__file__).parents[1] / "bids_config" / "demo.toml"
    text = config.read_text().replace("[stimuli]", '[stimuli]\nlabels_file = "l.tsv"')
    tables.write(tmp_path / "c.toml", text)
    tables.write(tmp_path / "l.tsv", 'stimulus\tlabel\na\t5" disc\nb\n')
    with pytest.raises(InputError, match="line 3 has 1 cells where"):
        load_dataset_config(tmp_path / "c.toml")


def test_labels_and_categories_in_quotes_are_refused(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / "x.png")
    tables.write(tmp_path / "labels.tsv", 'stimulus\tlabel\nx\t"dog, brown"\n')
    with pytest.raises(InputError, match='holds "dog, brown" in double quotes'):
        read_stimuli(tmp_path)
    text = 'stimulus\tkind\na\t"alive"\nb\talive\nc\tx\n'
    with pytest.raises(InputError, match='holds "alive" in double quotes'):
        read_categories(tables.write(tmp_path / "categories.tsv", text))
