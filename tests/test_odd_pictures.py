"""Every file of a folder of pictures is used or named, every pixel format shown or refused."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from odd_inputs import pictures as odd
from PIL import Image, ImageCms

from conceptrsa.analysis.files.stimuli import find_pictures, load_picture, read_stimuli
from conceptrsa.bids_config.errors import InputError

GREY = np.repeat(odd.as_bytes(odd.GREY)[..., None], 3, axis=-1)
COLOUR = odd.as_bytes(odd.COLOUR)
WORDS = np.uint16
HALF = np.concatenate([odd.COLOUR, np.full((8, 8, 1), 0.5)], axis=-1)
ON_WHITE = odd.as_bytes((odd.COLOUR + 1) / 2)

Writer = Callable[[Path], object]
SHOWN: dict[str, tuple[Writer, np.ndarray, int]] = {
    "float.tif": (lambda f: odd.write_tiff(f, odd.GREY.astype(np.float32)), GREY, 0),
    "float_white.tif": (
        lambda f: odd.write_tiff(f, odd.GREY.astype(np.float32), photometric=0), 255 - GREY, 0,
    ),
    "grey16.tif": (lambda f: odd.write_tiff(f, (odd.GREY * 65535).astype(WORDS)), GREY, 1),
    "white16.tif": (
        lambda f: odd.write_tiff(f, (odd.GREY * 65535).astype(WORDS), photometric=0), 255 - GREY, 1,
    ),
    "rgb16.tif": (
        lambda f: odd.write_tiff(f, (odd.COLOUR * 65535).astype(WORDS), photometric=2), COLOUR, 1,
    ),
    "planar8.tif": (
        lambda f: odd.write_tiff(f, COLOUR, photometric=2, planar=True), COLOUR, 0,
    ),
    "grey16.png": (lambda f: odd.write_png_of_16_bits(f, odd.GREY * 65535), GREY, 1),
    "rgb16.png": (lambda f: odd.write_png_of_16_bits(f, odd.COLOUR * 65535), COLOUR, 1),
    "rgba16.png": (lambda f: odd.write_png_of_16_bits(f, HALF * 65535), ON_WHITE, 2),
    "grey16.jp2": (
        lambda f: Image.fromarray((odd.GREY * 65535).astype(WORDS)).save(f), GREY, 1,
    ),
    "pfm.pfm": (
        lambda f: f.write_bytes(
            b"Pf\n8 8\n-1.0\n" + odd.GREY[::-1].astype(np.float32).tobytes()
        ), GREY, 0,
    ),
    "bits.png": (
        lambda f: Image.fromarray(odd.GREY > 0.5).save(f), 255 * (GREY > 127).astype(np.uint8), 0,
    ),
    "rgba.png": (lambda f: Image.fromarray(odd.as_bytes(HALF)).save(f), ON_WHITE, 1),
    "la.png": (
        lambda f: Image.fromarray(odd.as_bytes(np.stack([odd.GREY, 0 * odd.GREY], -1))).save(f),
        np.full((8, 8, 3), 255, np.uint8), 0,
    ),
    "palette.png": (
        lambda f: Image.fromarray(GREY[..., 0]).convert("P").save(f, transparency=0),
        np.where(GREY == 0, 255, GREY), 0,
    ),
    "cmyk.tif": (lambda f: odd.write_as(f, "CMYK"), COLOUR, 1),
    "cmyk.jpg": (lambda f: odd.write_as(f, "CMYK", quality=100), COLOUR, 12),
    "ycbcr.tif": (lambda f: odd.write_as(f, "YCbCr"), COLOUR, 3),
    "UPPER.PNG": (lambda f: Image.fromarray(COLOUR).save(f), COLOUR, 0),
    "wrong_ending.jpg": (lambda f: Image.fromarray(COLOUR).save(f, format="PNG"), COLOUR, 0),
    "two.gif": (odd.write_pages, COLOUR, 1),
    "two.png": (odd.write_pages, COLOUR, 0),
    "two.tif": (odd.write_pages, COLOUR, 0),
    "mpo.mpo": (lambda f: Image.fromarray(GREY).save(f, format="JPEG", quality=100), GREY, 3),
}  # fmt: skip


@pytest.mark.parametrize("name", SHOWN)
def test_pictures_are_as_a_viewer_shows_them(name: str, tmp_path: Path) -> None:
    write, expected, tolerance = SHOWN[name]
    write(tmp_path / name)
    (stimulus,) = read_stimuli(tmp_path)
    assert stimulus.id == Path(name).stem
    picture = load_picture(stimulus.image)
    assert picture.mode == "RGB"
    np.testing.assert_allclose(np.asarray(picture, int), expected.astype(int), atol=tolerance)


def test_lab_is_brought_to_srgb(tmp_path: Path) -> None:
    odd.write_lab(tmp_path / "lab.tif")
    pixels = np.asarray(load_picture(tmp_path / "lab.tif"), dtype=int)
    assert np.ptp(pixels, axis=-1).max() <= 2
    assert pixels[0, 0].max() <= 2 and pixels[-1, -1].min() >= 253
    assert pixels[4, 0, 0] == pytest.approx(119 + 255 * (odd.GREY[4, 0] - 0.5), abs=6)


REFUSED: dict[str, tuple[Writer, str]] = {
    "float255.tif": (
        lambda f: odd.write_tiff(f, (odd.GREY * 200).astype(np.float32)),
        "holds floating-point numbers from 0 to 200, not from 0 to 1: save it with 8 bits",
    ),
    "nans.tif": (
        lambda f: odd.write_tiff(f, np.full((8, 8), np.nan, np.float32)),
        "floating-point numbers from nan to nan",
    ),
    "whole32.tif": (
        lambda f: odd.write_tiff(f, (odd.GREY * 4e9).astype(np.uint32)), "numbers of 32 bits",
    ),
    "signed16.tif": (
        lambda f: odd.write_tiff(f, (odd.GREY * 3e4).astype(np.int16)), "holds signed numbers",
    ),
    "signed8.tif": (
        lambda f: odd.write_tiff(f, (odd.GREY * 100).astype(np.int8)), "holds signed numbers",
    ),
    "planar16.tif": (
        lambda f: odd.write_tiff(
            f, (odd.COLOUR * 65535).astype(WORDS), photometric=2, planar=True
        ), "16-bit channels one after the other",
    ),
    "float_rgb.tif": (
        lambda f: odd.write_tiff(f, odd.COLOUR.astype(np.float32), photometric=2),
        "replace it with an intact copy",
    ),
    "page.jpg": (
            lambda f: f.write_text("<html>not found</html>"),
            "replace it with an intact copy",
        ),
    "empty.png": (lambda f: f.write_bytes(b""), "replace it with an intact copy"),
    "a.heic": (lambda f: f.write_bytes(b"\0\0\0\x18ftypheic"), "format that cannot be read: save"),
    "a.NEF": (lambda f: f.write_bytes(b"II*\0"), "has a picture format that cannot be read"),
    "a.SVG": (lambda f: f.write_text("<svg/>"), "has a picture format that cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_viewer_knows_is_refused(name: str, tmp_path: Path) -> None:
    write, said = REFUSED[name]
    write(tmp_path / name)
    with pytest.raises(InputError) as caught:
        read_stimuli(tmp_path)
    assert str(tmp_path / name) in str(caught.value) and said in str(caught.value)


@pytest.mark.parametrize("ending", ["png", "jpg", "gif", "tif", "bmp", "webp"])
def test_truncated_pictures_are_refused(ending: str, tmp_path: Path) -> None:
    file = tmp_path / f"a.{ending}"
    Image.effect_noise((64, 64), 50).save(file)
    for share in (0.02, 0.4, 0.8):
        content = file.read_bytes()
        (tmp_path / f"b.{ending}").write_bytes(content[: int(share * len(content))])
        with pytest.raises(InputError, match=r"b\.\w+ cannot be read"):
            read_stimuli(tmp_path)


def test_colours_of_a_wide_profile_are_brought_to_srgb(tmp_path: Path) -> None:
    green = Image.new("RGB", (4, 4), (100, 200, 100))
    green.save(tmp_path / "a.png", icc_profile=odd.wide_profile())
    red, green_is, blue = load_picture(tmp_path / "a.png").getpixel((0, 0))
    assert (
        red < 60 and abs(green_is - 201) < 4 and abs(blue - 92) < 8
    )  # the value of colour science
    grey = Image.new("L", (4, 4), 100)
    grey.save(tmp_path / "b.png", icc_profile=odd.wide_profile(1.0, grey=True))
    assert load_picture(tmp_path / "b.png").getpixel((0, 0))[0] == pytest.approx(168, abs=3)
    clear = Image.new("RGBA", (4, 4), (100, 200, 100, 0))
    clear.save(tmp_path / "c.png", icc_profile=odd.wide_profile())
    assert load_picture(tmp_path / "c.png").getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("profile", ["srgb", "damaged", "of another space"])
def test_ordinary_pictures_stay_as_they_are_to_the_bit(profile: str, tmp_path: Path) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    content = {
        "srgb": srgb, "damaged": srgb[:200], "of another space": odd.wide_profile(1.0, grey=True),
    }[profile]  # fmt: skip
    noise = np.random.default_rng(0).integers(256, size=(16, 16, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png", icc_profile=content)
    np.testing.assert_array_equal(np.asarray(load_picture(tmp_path / "a.png")), noise)


def test_every_file_is_used_or_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a.png", ".hidden.png", "._a.png", "apple"):
        Image.fromarray(COLOUR).save(tmp_path / name, format="PNG")
    odd.write_pages(tmp_path / "two.gif")
    (tmp_path / "a.heic").write_bytes(b"also there as PNG")
    for name in ("labels.tsv", "README.md", "licence.pdf", "scan.hdr"):
        (tmp_path / name).write_text("stimulus\tlabel\na\tapple\n")
    for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
        (tmp_path / name).write_bytes(b"of the system")
    (tmp_path / "more").mkdir()
    with caplog.at_level(logging.WARNING):
        assert [stimulus.id for stimulus in read_stimuli(tmp_path)] == ["a", "two"]
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}: only the first of several frames or pages is used: two.gif",
        f"{tmp_path}: not used as pictures: .hidden.png, README.md, a.heic, apple, "
        "licence.pdf and 2 more",
    ]


def test_pictures_in_folders_below(tmp_path: Path) -> None:
    (tmp_path / "animals").mkdir()
    Image.fromarray(COLOUR).save(tmp_path / "animals" / "a.png")
    with pytest.raises(InputError, match=r"holds no picture itself, only folders \(animals ...\)"):
        find_pictures(tmp_path)
