"""Options made from the fields of dataclasses, short and full help, and one-line usage errors."""

import argparse
import inspect
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, fields
from importlib.metadata import version
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

from conceptrsa.bids_config.machine import available_processors
from conceptrsa.bids_config.names import did_you_mean

_NUMBER = re.compile(r"-\.?\d")


class Parser(argparse.ArgumentParser):
    """Parser with a short help and a full one, which answers wrong usage in one line.

    Parameters
    ----------
    everyday : sequence of str
        Options that `--help` shows; `--help-all` shows all of them. Empty: `--help` shows all.
    examples : sequence of str
        Commands that both print at the end.
    """

    def __init__(
        self,
        *args: Any,
        everyday: Sequence[str] = (),
        examples: Sequence[str] = (),
        **known: Any,
    ) -> None:
        super().__init__(*args, **known)
        self._everyday, self._examples = tuple(everyday), tuple(examples)
        if everyday:
            self.add_argument("--help-all", action=_HelpAll, help="show every option and exit")

    def format_help(self) -> str:
        """Format the everyday options and the examples."""
        return self._format(self._everyday)

    def format_full_help(self) -> str:
        """Format every option and the examples."""
        return self._format(())

    def _format(self, chosen: Sequence[str]) -> str:
        """Format help on some options, and on what a command cannot do without."""
        needed = [
            action for action in self._actions if action.required or not action.option_strings
        ]
        wanted = {"--help", "--help-all", "--version", *chosen}
        shown = [
            action
            for action in self._actions
            if not chosen or action in needed or wanted & set(action.option_strings)
        ]
        formatter = self._get_formatter()
        # A command within a command may be left out.
        typed = [action for action in needed if action.nargs != argparse.PARSER or action.required]
        usage = formatter._format_usage(None, typed, [], "").strip()
        formatter.add_usage(f"{usage} [options]".replace("%", "%%"), [], [])
        formatter.add_text(self.description)
        for group in self._action_groups:
            formatter.start_section(group.title)
            formatter.add_arguments(action for action in group._group_actions if action in shown)
            formatter.end_section()
        text = formatter.format_help()
        if self._examples:
            text += "\nexamples:\n" + "".join(f"  {example}\n" for example in self._examples)
        if chosen:
            text += f"\nThese are the everyday options; {self.prog} --help-all shows all.\n"
        return text

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Check the spelling of options first: a misspelled option is not a missing one."""
        words = list(sys.argv[1:] if args is None else args)
        for place, word in enumerate(words):
            is_option = word.startswith("-") and word not in ("-", "--") and " " not in word
            if not is_option and (word == "--" or self._subparsers is not None):
                break  # what follows belongs to the command
            if is_option and word.startswith("--"):
                name, *value = word.split("=", 1)  # fMRIPrep takes --participant_label as well
                words[place] = word = "=".join((name.replace("_", "-"), *value))
            if is_option and not self._is_known(word):
                name = word.partition("=")[0]
                known = f"--{name.lstrip('-')}"
                self.error(f"there is no option {name}{did_you_mean(known, self._option_names)}")
        return super().parse_known_args(words, namespace)

    @property
    def _option_names(self) -> list[str]:
        return list(self._option_string_actions)

    def _is_known(self, word: str) -> bool:
        """Whether a word is an option, the beginning of one, or a negative number."""
        if not word.startswith("--"):
            return bool(_NUMBER.match(word)) or word[:2] in self._option_names
        return any(name.startswith(word.partition("=")[0]) for name in self._option_names)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        choices = None if action.choices is None else [str(choice) for choice in action.choices]
        if choices is not None and value not in choices:
            message = f"{value!r} is not a choice{did_you_mean(str(value), choices)}"
            raise argparse.ArgumentError(action, f"{message}: choose from {', '.join(choices)}")

    def error(self, message: str) -> NoReturn:
        """End with one line that says what is wrong, and where help is."""
        self.exit(2, f"conceptrsa: {message}; see {self.prog} --help\n")


class _HelpAll(argparse.Action):
    """Print the help on every option, and exit."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        assert isinstance(parser, Parser)
        print(parser.format_full_help(), end="")
        parser.exit()


def add_version(parser: argparse.ArgumentParser) -> None:
    """Let `--version` print the program's name and version, and exit."""
    parser.add_argument(
        "--version",
        action="version",
        version=f"conceptrsa {version('conceptrsa')}",
        help="print the version and exit",
    )


def add_options(
    group: argparse._ActionsContainer,
    cls: type,
    part: str | None = None,
    *,
    environment: Mapping[str, str] = os.environ,
    default: object = None,
) -> None:
    """Add an option for each field of a dataclass, so that a setting is written down once.

    The field's type says which values are accepted, and the first paragraph on it in the class's
    docstring is the help. An option that is not given is None, so that the field's own default
    applies.

    Parameters
    ----------
    group : ArgumentParser or group of one
    cls : type
        The metadata of its fields are all optional: `part`; `option` (False: no option is made);
        `flags`, if they do not follow from the name; `help`, in place of the docstring's;
        `metavar`; `minimum` of a whole number (1); `processors` (True: a number of processors);
        `prefix`, which is removed from a text; `environment`, the variable with the default;
        `repeatable` (True: values add up if the option is given again).
    part : str, optional
        Which fields: those of this part.
    environment : mapping of str to str
    default : object
        In place of None.
    """
    hints = get_type_hints(cls)
    documented = _first_paragraphs(cls)
    for entry in fields(cls):
        known = entry.metadata
        if known.get("part") != part or not known.get("option", True):
            continue
        text = known.get("help") or documented.get(entry.name, "")
        value, variable = default, known.get("environment")
        if variable and default is None and environment.get(variable):
            value = True if hints[entry.name] is bool else environment[variable]
        if "(default" not in text and entry.default not in (None, ()):
            from_there = f"${variable}, else " if variable else ""
            is_flag = isinstance(entry.default, bool)
            text += "" if is_flag else f" (default: {from_there}{entry.default})"
        how = _how_read(entry, hints[entry.name])
        group.add_argument(*_flags(entry), dest=entry.name, default=value, help=text, **how)


def given_options(cls: type, args: argparse.Namespace) -> dict[str, Any]:
    """Give the values of those fields of a dataclass that were given, by the fields' names."""
    given = {entry.name: getattr(args, entry.name, None) for entry in fields(cls)}
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in given.items()
        if value is not None
    }


def option_of(cls: type, name: str) -> str:
    """Give the option of a field as it is typed, for messages."""
    (entry,) = (entry for entry in fields(cls) if entry.name == name)
    return next(flag for flag in _flags(entry) if flag.startswith("--"))


def _flags(entry: Field[Any]) -> tuple[str, ...]:
    return entry.metadata.get("flags") or (f"--{entry.name.replace('_', '-')}",)


def _how_read(entry: Field[Any], hint: Any) -> dict[str, Any]:
    """Tell argparse what a field of some type takes."""
    known = entry.metadata
    options = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    (kind,) = (option for option in options if option is not NoneType)
    if kind is bool and entry.default and not known.get("flags"):
        return {"action": argparse.BooleanOptionalAction}
    if kind is bool:
        return {"action": "store_false" if entry.default else "store_true"}
    how: dict[str, Any] = {}
    if get_origin(kind) in (tuple, Sequence):
        how["nargs"] = "+"
        kind = get_args(kind)[0]
    if known.get("repeatable"):
        how["action"] = "extend"
    if get_origin(kind) is Literal:
        return {**how, "choices": get_args(kind)}
    if known.get("processors"):
        how["type"] = number_of_processors
    elif kind in (int, float):
        how["type"] = whole_number(min(1, known.get("minimum", 1)))
    elif kind is Path:
        how["type"] = Path
    elif "prefix" in known:
        how["type"] = without_prefix(known["prefix"])
    metavar = {int: "N", float: "N", str: "NAME"}.get(kind)
    if kind is Path:
        metavar = "DIR" if entry.name.endswith("dir") else "FILE"
    return {**how, "metavar": known.get("metavar", "LABEL" if "prefix" in known else metavar)}


def whole_number(minimum: int = 1) -> Callable[[str], int]:
    """Make a reader of whole numbers that are at least `minimum`, for argparse."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if value < minimum:
            raise argparse.ArgumentTypeError(f"{value} is too small: give {minimum} or more")
        return value

    return read


def number_of_processors(text: str) -> int:
    """Read a number of processors, where -1 means all, for argparse."""
    return available_processors() if text == "-1" else whole_number(1)(text)


def without_prefix(prefix: str) -> Callable[[str], str]:
    """Make a reader of labels that removes a BIDS prefix, for argparse."""
    return lambda text: text.removeprefix(prefix)


def _first_paragraphs(cls: type) -> dict[str, str]:
    """Give the first paragraph on each attribute in a class's docstring, as a clause."""
    _, _, attributes = inspect.cleandoc(cls.__doc__ or "").partition("Attributes\n----------\n")
    said: dict[str, str] = {}
    # A line at the margin names attributes; what follows is indented.
    for entry in re.split(r"\n(?=\w)", attributes):
        head, _, text = entry.partition("\n")
        clause = " ".join(text.partition("\n\n")[0].split()).rstrip(".").replace("`", "")
        first = clause.partition(" ")[0]
        if first[1:].islower():
            clause = clause[:1].lower() + clause[1:]
        said |= dict.fromkeys(head.partition(" : ")[0].split(", "), clause.replace("%", "%%"))
    return said
