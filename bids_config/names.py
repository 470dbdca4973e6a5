"""One rule for names: what looks the same to a person is the same, or is refused.

Names come from tables, file names and arrays that were written on other systems: a space at the
end, a no-break space, an accent as a character of its own (macOS) or a zero-width character makes
two names of what everybody reads as one.
"""

import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from conceptrsa.bids_config.errors import InputError

log = logging.getLogger(__name__)

VOLUME_SUFFIXES = (".nii", ".nii.gz", ".mgz", ".mgh")

SUBJECT_PLACE = "{subject}"
"""Stands in the name of an atlas for the subject's label without `sub-`."""

PICTURE_ENDINGS = frozenset({
    "apng", "avif", "avifs", "blp", "bmp", "cur", "dcx", "dds", "dib", "eps", "fits", "gif", "heic",
    "heif", "icb", "icns", "ico", "j2c", "j2k", "jfif", "jp2", "jpc", "jpe", "jpeg", "jpf", "jpg",
    "jpx", "mpo", "msp", "pbm", "pcd", "pcx", "pfm", "pgm", "png", "pnm", "ppm", "psd", "qoi",
    "ras", "sgi", "tga", "tif", "tiff", "vda", "vst", "webp", "xbm", "xpm",
})  # fmt: skip
"""In small letters, without the dot; none that names of conditions end in, such as `rgb`."""

READ_AS_MISSING = frozenset({
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
    "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
})  # fmt: skip
"""Cells that `pandas.read_csv` takes for missing values by default."""

MOST_LISTED = 50
"""Words that a message lists in full; a library of networks has more than a person reads."""

_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\uffa0\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)  # besides the format characters, which Unicode marks as such
_LOOK_ALIKE = str.maketrans(
    "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u2018\u2019\u201a\u201b\u2032\u00b4\u0060\u201c\u201d\u201e\u2033\u00b5\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u04bb\u0501\u051b\u051d\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0423\u0425\u0405\u0406\u0408\u03bf\u03bd\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7",
    "-------'''''''\"\"\"\"\u03bcaeopcyxijshdqwABEKMHOPCTYXSIJovABEZHIKMNOPTYX",
)
"""Dashes, quotation marks, and the Cyrillic and Greek letters that are drawn as Latin ones."""
_SHOWN_WIDE = re.compile("[\ufb00-\ufb06\uff01-\uff5e]")  # ligatures, full-width letters
_FOLDERS = re.compile(r"[/\\]")


def clean_name(text: str) -> str:
    """Give a name as it looks: composed accents, single spaces, nothing invisible."""
    if not text.isascii():
        text = _INVISIBLE.sub("", text)
        text = "".join(sign for sign in text if unicodedata.category(sign) != "Cf")
        text = unicodedata.normalize("NFC", text)
    return " ".join(text.split())


def stimulus_path(text: str, *, is_file: bool = False) -> str:
    """Write the path of a picture in one way: below BIDS' folder `stimuli`, its ending small.

    Other names are cleaned only.

    Parameters
    ----------
    text : str
        A name, or the path of a picture.
    is_file : bool
        Whether it is a path whatever its ending, as in BIDS' column `stim_file`.
    """
    name = clean_name(text)
    stem, _, ending = name.rpartition(".")
    is_picture = ending.lower() in PICTURE_ENDINGS
    if name in READ_AS_MISSING or not (is_picture or is_file):
        return name
    path = f"{stem}.{ending.lower()}" if is_picture else name
    parts = [part for part in _FOLDERS.split(path) if part not in ("", ".")]
    return "/".join(parts[1:] if parts[0] == "stimuli" and parts[1:] else parts) or name


def stimulus_id(text: str, *, is_file: bool = False) -> str:
    """Give the stimulus that a cell names: a picture's ending is no part of it.

    Neither are the folders of what is a path for sure. Parameters as of `stimulus_path`.
    """
    path = stimulus_path(text, is_file=is_file)
    if is_file and path not in READ_AS_MISSING:
        path = path.rpartition("/")[2]
    stem, _, ending = path.rpartition(".")
    while ending in PICTURE_ENDINGS and clean_name(stem.rpartition("/")[2]):
        path = clean_name(stem)
        stem, _, ending = path.rpartition(".")
    return path


def stimulus_ids(texts: Iterable[str], source: Path | str) -> tuple[str, ...]:
    """Give the stimulus of each text, after `require_one_spelling`."""
    texts = tuple(texts)
    ids = tuple(map(stimulus_id, texts))
    require_one_spelling(zip(texts, ids, strict=True), source)
    return ids


def require_one_spelling(
    spellings: Iterable[tuple[str, str]],
    source: Path | str,
    remedy: str = "rename one, or write it in one way",
) -> None:
    """Check that no two files are one stimulus.

    Parameters
    ----------
    spellings : iterable of (str, str)
        What is written, and the stimulus that it names.
    source : Path or str
        Where, for the message.
    remedy : str
        For the message.

    Raises
    ------
    InputError
        On two texts that look different and name one stimulus, such as `a.png` and `a.jpg`.
    """
    written: dict[str, str] = {}
    for text, stimulus in spellings:
        cleaned = stimulus_path(text)
        other = written.setdefault(stimulus, cleaned)
        if other != cleaned:
            raise InputError(
                f"{source} holds {other!r} and {cleaned!r}, which are both stimulus {stimulus!r}: "
                f"{remedy}"
            )


def require_distinguishable(names: Iterable[str], what: str, source: Path | str) -> None:
    """Check that cleaned names which are not the same do not look the same.

    Raises
    ------
    InputError
        On two names that differ only in dashes, quotation marks or letters of another alphabet.
    """
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(_appearance(name), name)
        if other != name:
            raise InputError(
                f"{source} holds the {what} names {other!a} and {name!a}, which look the same but "
                "have different characters: write both the same way"
            )


def warn_of_case(names: Iterable[str], what: str, source: Path | str) -> None:
    """Log a warning of names that differ in upper and lower case only."""
    spellings: dict[str, set[str]] = {}
    for name in names:
        spellings.setdefault(name.casefold(), set()).add(name)
    pairs = [sorted(alike) for alike in spellings.values() if len(alike) > 1]
    if pairs:
        more = f", and {len(pairs) - 1} more such pairs" if len(pairs) > 1 else ""
        warn_once(
            f"{source} holds the {what} names {' and '.join(map(repr, pairs[0]))}, which differ "
            f"only in upper and lower case and are kept apart{more}: write them alike if they are "
            "the same"
        )


@cache
def warn_once(sentence: str) -> None:
    """Log a warning once; a data set is read several times in a run."""
    log.warning("%s", sentence)


def natural_key(text: str) -> list[tuple[int, str]]:
    """Sort key in which 'run-2' comes before 'run-10'."""
    parts = re.split(r"(\d+)", text)
    return [(int(part), part) if part.isdecimal() else (-1, part) for part in parts]


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """Give ` (did you mean 'this'?)`, or nothing where no candidate is close."""
    spelled = {candidate.casefold(): candidate for candidate in candidates}
    close = get_close_matches(word.casefold(), spelled, n=1)
    return f" (did you mean {spelled[close[0]]!r}?)" if close else ""


def require_one_of(
    word: object, known: Iterable[str], what: str, remedy: str = "choose one of"
) -> None:
    """Refuse a word that is not among those known.

    Parameters
    ----------
    word : object
    known : iterable of str
    what : str
        The beginning of the message, before the word: 'there is no setting'.
    remedy : str
        Stands before the known words; of more than `MOST_LISTED` the first few are named.
        Neither is said where no word is known.

    Raises
    ------
    InputError
    """
    known = tuple(known)
    if isinstance(word, str) and word in known:
        return
    close = did_you_mean(word, known) if isinstance(word, str) else ""
    listed = ", ".join(known) if len(known) <= MOST_LISTED else some_of(known)
    raise InputError(f"{what} {word!r}{close}" + (f": {remedy} {listed}" if known else ""))


def require_distinct(names: Iterable[object], what: str, remedy: str = "keep one row") -> None:
    """Refuse a name that is there more than once.

    Parameters
    ----------
    names : iterable
    what : str
        The beginning of the message, before the name: 'the table lists'.
    remedy : str
        For the message.

    Raises
    ------
    InputError
    """
    for name, number in Counter(names).items():
        if number > 1:
            raise InputError(f"{what} {name!r} more than once: {remedy}")


def spelt_otherwise(name: str, there: Iterable[str]) -> str:
    """Say which of the names that are there differs from a missing one in spelling only."""
    wanted = _appearance(stimulus_id(name)).casefold()
    alike = [other for other in there if _appearance(stimulus_id(other)).casefold() == wanted]
    return f" (there is {alike[0]!a}, which is spelt differently)" if alike else ""


def find_spelt_otherwise(names: Iterable[str]) -> tuple[str, str] | None:
    """Find two names that differ in spelling only; None if there are none."""
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(_appearance(stimulus_id(name)).casefold(), name)
        if other != name:
            return other, name
    return None


def some_of(names: Sequence[str], most: int = 5) -> str:
    """Name the first of some names: 'a, b, c, d, e and 3 more'."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def in_quotes(texts: Sequence[str]) -> str | None:
    """Give the first text that stands between double quotes, None without one."""
    return next(
        (text for text in texts if len(text) > 1 and text[0] == '"' and text[-1] == '"'), None
    )


def require_no_quotes(texts: Sequence[str], source: Path | str) -> None:
    """Raise InputError where a text stands between double quotes, as spreadsheets and R write."""
    quoted = in_quotes(texts)
    if quoted is not None:
        raise InputError(
            f"{source} holds {quoted} in double quotes, which BIDS tables do not use: remove them"
        )


def _appearance(name: str) -> str:
    if name.isascii():
        return name.translate(_LOOK_ALIKE)
    wide = _SHOWN_WIDE.sub(lambda found: unicodedata.normalize("NFKC", found[0]), name)
    return wide.translate(_LOOK_ALIKE)


def require_region_name(name: str, source: Path | str) -> None:
    """Check that a region's name can be that of a group of arrays, besides `require_names`.

    Raises
    ------
    InputError
    """
    require_names([name], "region", source)
    if "/" in name:
        raise InputError(
            f"{source} names a region {name!r}: remove the '/', which separates regions from their "
            "arrays in files"
        )


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def require_names(names: Iterable[str], what: str, source: Path | str) -> None:
    """Check that tables can tell names from missing values, and people one name from another.

    Parameters
    ----------
    names : iterable of str
    what : str
        What is called so, for the message.
    source : Path or str
        Where the names come from, for the message.

    Raises
    ------
    InputError
        On a name that is empty, that tables are read with as a missing value, that stands in
        quotes or holds a control character, and on two that look the same.
    """
    names = tuple(names)
    require_distinguishable(dict.fromkeys(names), what, source)
    for name in names:
        if _CONTROL.search(name) or in_quotes([name]):
            raise InputError(
                f"{source} holds a {what} called {name!r}: remove quotes around it and control "
                "characters"
            )
        if name.strip() in READ_AS_MISSING:
            raise InputError(
                f"{source} holds a {what} called {name!r}, which tables of results cannot tell "
                "from a missing value: give it another name"
            )
