"""A recipe: everything that decides a training run but the windows, as TOML."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from motionseek.encoders.train.augment import Augment
from motionseek.encoders.train.dataset import PoseForm, TextSource, WindowSettings
from motionseek.encoders.train.loop import FitSettings
from motionseek.encoders.train.split import Split
from motionseek.errors import UsageError

RECIPES = Path(__file__).parent / "recipes"
OBJECTIVES = ("motion", "imu2clip", "mobind")
Table = Mapping[str, Any]
Settings = TypeVar("Settings")


@dataclass(frozen=True)
class DataSettings:
    """Which windows of the archive, and what of them.

    windows: the modality whose windows in the archive are trained on.     rate_hz: of all signals.
    placements, pose_form, text: see WindowSettings.     space: whose text and video vectors are the targets, "" for
    the archive's first with text.
    """

    windows: Literal["imu", "video", "pose", "text"] = "imu"
    window_s: float = 5.0
    rate_hz: float = 50.0
    placements: tuple[str, ...] = ()
    pose_form: PoseForm = "person"
    text: TextSource = "either"
    space: str = ""
    batch: int = 128

    @property
    def of_window(self) -> WindowSettings:
        return WindowSettings(self.placements, self.pose_form, self.text)


@dataclass(frozen=True)
class Stage:
    """One training: what counts, how long, and how windows vary."""

    name: str
    batch: int
    model: Table
    loss: Table
    fit: FitSettings
    augment: Augment


@dataclass(frozen=True)
class Recipe:
    """One file of recipes/, or your own.

    compat: as published, so nothing is varied.     stages: trained one after the other, each from the last one's
    weights; most recipes have one.
    """

    name: str
    description: str
    objective: Literal["motion", "imu2clip", "mobind"]
    compat: bool
    licence: str
    data: DataSettings
    split: Split
    stages: tuple[Stage, ...]

    @classmethod
    def load(cls, name_or_path: str | Path) -> Recipe:
        """A recipe that comes with the package, or a TOML file. Raises UsageError naming what is wrong in it."""
        path = find(name_or_path)
        try:
            table = tomllib.loads(path.read_text())
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise UsageError(f"{path}: {error}") from error
        return cls.of(table, str(path))

    @staticmethod
    def is_starter(name_or_path: str | Path) -> bool:
        """Whether it is a recipe for the starter weights, which come of simulated motion and no archive."""
        try:
            return tomllib.loads(find(name_or_path).read_text()).get("objective") == "starter"
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise UsageError(f"{name_or_path}: {error}") from error

    @classmethod
    def of(cls, table: Table, where: str = "the recipe") -> Recipe:
        """From tables as TOML gives them. Raises UsageError."""
        about = ("name", "description", "licence", "objective", "compat")
        _refuse_unknown(table, (*about, "data", "split", "augment", "model", "loss", "fit", "stages"), where)
        if table.get("objective") not in OBJECTIVES:
            raise UsageError(
                f"{where}: objective must be one of {', '.join(OBJECTIVES)}, not {table.get('objective')!r}"
            )
        compat = bool(table.get("compat", False))
        data = strict(DataSettings, table.get("data", {}), f"{where}: data")
        data.of_window  # noqa: B018 (checks itself)
        stages = []
        given = table.get("stages", [{}])
        if not isinstance(given, list) or not given:
            raise UsageError(f"{where}: stages must be tables, [[stages]]")
        for i, own in enumerate(given):
            at = f"{where}: stages[{i}]" if "stages" in table else where
            _refuse_unknown(own, ("name", "batch", "model", "loss", "fit", "augment"), at)

            def merged(part: str, own: Table = own) -> dict[str, Any]:
                shared, more = table.get(part, {}), own.get(part, {})
                if not isinstance(shared, Mapping) or not isinstance(more, Mapping):
                    raise UsageError(f"{where}: {part} must be a table, [{part}]")
                return {**shared, **more}

            augment = strict(Augment, merged("augment"), f"{at}: augment")
            if compat and augment != Augment():
                raise UsageError(f"{at}: compat = true trains as published, so augment must be empty")
            fit = strict(FitSettings, merged("fit"), f"{at}: fit")
            names = (
                str(own.get("name", f"stage {i + 1}" if len(given) > 1 else "training")),
                own.get("batch", data.batch),
            )
            stages.append(Stage(*names, merged("model"), merged("loss"), fit, augment))
        return cls(
            str(table.get("name", "")),
            str(table.get("description", "")),
            table["objective"],
            compat,
            str(table.get("licence", "that of the data it was trained on")),
            data,
            strict(Split, table.get("split", {"by": "person", "fractions": [0.8, 0.1, 0.1]}), f"{where}: split"),
            tuple(stages),
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def with_fit(self, **changed: Any) -> Recipe:
        """The same with other settings of the loop in every stage."""
        return replace(self, stages=tuple(replace(s, fit=replace(s.fit, **changed)) for s in self.stages))


def names() -> tuple[str, ...]:
    """The recipes that come with the package."""
    return tuple(sorted(path.stem for path in RECIPES.glob("*.toml")))


def find(name_or_path: str | Path) -> Path:
    """Raises UsageError."""
    path = RECIPES / f"{name_or_path}.toml"
    if str(name_or_path) not in names():
        path = Path(name_or_path)
    if not path.is_file():
        raise UsageError(
            f"{name_or_path} is neither a recipe that comes with the package ({', '.join(names())}) nor a TOML file"
        )
    return path


def strict(kind: type[Settings], table: Table, where: str) -> Settings:
    """A dataclass from a table. Raises UsageError for an unknown key and a value of another type."""
    if not isinstance(table, Mapping):
        raise UsageError(f"{where} must be a table, not {table!r}")
    hints = get_type_hints(kind)
    own = {f.name.rstrip("_"): f for f in fields(kind) if f.init}  # type: ignore[arg-type]
    _refuse_unknown(table, tuple(own), where)
    values = {}
    for key, value in table.items():
        kept = tuple(value) if isinstance(value, list) else value
        if not _fits(kept, hints[own[key].name]):
            raise UsageError(f"{where}.{key} has the wrong type: {value!r}")
        values[own[key].name] = kept
    missing = [n for n, f in own.items() if n not in table and f.default is MISSING and f.default_factory is MISSING]
    if missing:
        raise UsageError(f"{where} needs {', '.join(missing)}")
    try:
        return kind(**values)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error


def _fits(value: Any, hint: Any) -> bool:
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return any(_fits(value, each) for each in get_args(hint))
    if origin is Literal:
        return True  # the class itself says what it knows
    if origin is tuple:
        inner = [a for a in get_args(hint) if a is not Ellipsis]
        return isinstance(value, tuple) and all(any(_fits(v, i) for i in inner) for v in value)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint) if isinstance(hint, type) else True


def _refuse_unknown(table: Table, known: tuple[str, ...], where: str) -> None:
    if not isinstance(table, Mapping):
        raise UsageError(f"{where} must be a table, not {table!r}")
    unknown = sorted(set(table) - set(known))
    if unknown:
        raise UsageError(f"{where}: unknown key {unknown[0]!r}; known: {', '.join(known)}")
