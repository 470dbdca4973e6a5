"""Reading pictures and labels."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conceptrsa.analysis.files.stimuli import load_picture, read_stimuli
from conceptrsa.bids_config.errors import InputError

RED = (200, 30, 10)


def save(path: Path, colour: object = RED, mode: str = "RGB", **options: object) -> Path:
    Image.new(mode, (8, 6), colour).save(path, **options)
    return path


def test_any_format_and_case_of_extension_sorted_by_id(tmp_path: Path) -> None:
    for name in ("b_2.PNG", "a_1.JPEG", "c_3.webp", "d_4.TiFF"):
        save(tmp_path / name)
    (tmp_path / "README.md").write_text("not a picture")
    save(tmp_path / ".hidden.png")
    (tmp_path / "labels.tsv").write_text("stimulus\tlabel\nb_2\thot air balloon\nz\tno picture\n")
    stimuli = read_stimuli(tmp_path)
    assert [stimulus.id for stimulus in stimuli] == ["a_1", "b_2", "c_3", "d_4"]
    assert [stimulus.label for stimulus in stimuli] == [None, "hot air balloon", None, None]
    assert stimuli[1].image == tmp_path / "b_2.PNG"


def test_labels_file_of_its_own_takes_precedence(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    (tmp_path / "labels.tsv").write_text("stimulus\tlabel\na\there\n")
    other = tmp_path / "other.tsv"
    other.write_text("\ufeffstimulus\tsynset\tlabel\na\tn1\telsewhere\n", encoding="utf-8")
    assert read_stimuli(tmp_path, other)[0].label == "elsewhere"


def test_real_labels_of_the_fifty_test_images(shared_data: Path, tmp_path: Path) -> None:
    table = (shared_data / "god_stimuli" / "labels_ImageNetTest.tsv").read_text()
    (tmp_path / "labels.tsv").write_text(table.replace("stimulus_name", "stimulus", 1))
    save(tmp_path / "n01443537_22563.JPEG")
    assert [(s.id, s.label) for s in read_stimuli(tmp_path)] == [("n01443537_22563", "goldfish")]


def test_grey_palette_and_sixteen_bits_become_rgb(tmp_path: Path) -> None:
    grey = load_picture(save(tmp_path / "grey.png", 120, "L"))
    assert grey.mode == "RGB" and grey.getpixel((0, 0)) == (120, 120, 120)
    wide = Image.fromarray(np.full((6, 8), 120 * 257, dtype=np.uint16))
    wide.save(tmp_path / "wide.png")
    assert load_picture(tmp_path / "wide.png").getpixel((3, 3)) == (120, 120, 120)
    Image.new("RGB", (8, 6), RED).quantize().save(tmp_path / "palette.gif")
    assert load_picture(tmp_path / "palette.gif").getpixel((3, 3)) == RED


def test_transparent_parts_become_white(tmp_path: Path) -> None:
    path = save(tmp_path / "clear.png", (200, 0, 0, 0), "RGBA")
    assert load_picture(path).getpixel((0, 0)) == (255, 255, 255)
    path = save(tmp_path / "half.png", (0, 0, 0, 128), "RGBA")
    assert load_picture(path).getpixel((0, 0)) == (127, 127, 127)


def test_exif_rotation_is_undone(tmp_path: Path) -> None:
    picture = Image.new("RGB", (8, 6), "black")
    picture.putpixel((0, 0), (255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90 degrees clockwise
    picture.save(tmp_path / "turned.png", exif=exif)
    upright = load_picture(tmp_path / "turned.png")
    assert upright.size == (6, 8)
    assert upright.getpixel((5, 0)) == (255, 255, 255)


def _same_stem(folder: Path) -> None:
    save(folder / "a.png")
    save(folder / "a.jpg")


def _truncated(folder: Path) -> None:
    path = folder / "a.png"
    Image.effect_noise((64, 64), 50).save(path)
    path.write_bytes(path.read_bytes()[:900])


def _labels(text: str) -> object:
    def make(folder: Path) -> None:
        save(folder / "a.png")
        (folder / "labels.tsv").write_text(text)

    return make


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "holds no picture"),
        (_same_stem, "both called stimulus 'a'"),
        (_truncated, r"a\.png cannot be read"),
        (lambda folder: (folder / "a.jpg").write_text("no picture"), r"a\.jpg cannot be read"),
        (_labels("name\tlabel\na\tapple\n"), "lacks the column stimulus"),
        (_labels("stimulus\tlabel\na\t\n"), "line 2: give each stimulus a label"),
        (_labels("stimulus\tlabel\na\tapple\na\tpear\n"), "line 3: 'a' has two labels"),
    ],
)
def test_bad_folders_end_in_one_sentence(tmp_path: Path, make, message: str) -> None:
    make(tmp_path)
    with pytest.raises(InputError, match=message):
        read_stimuli(tmp_path)


def test_missing_folder_and_missing_table(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a folder"):
        read_stimuli(tmp_path / "absent")
    save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"absent\.tsv is missing"):
        read_stimuli(tmp_path, tmp_path / "absent.tsv")
