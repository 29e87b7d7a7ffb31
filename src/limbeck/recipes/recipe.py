"""The one schema of a run: typed dataclasses that Python, YAML and the command line share."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from limbeck.errors import ConfigError, UnknownNameError, known_name, nearest
from limbeck.files import usable_name, write_whole
from limbeck.recipes.entries import apart, put_in
from limbeck.recipes.names import check_names, check_training, flat_keys, options, unknown_key
from limbeck.recipes.places import from_its_folder
from limbeck.recipes.specs import DataSpec, MethodSpec, PeerSpec, StudentSpec, TeacherSpec
from limbeck.recipes.yaml_file import yaml_keys
from limbeck.seeding import check_seed

Spec = TypeVar("Spec", bound="TeacherSpec | PeerSpec")

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

_SECTIONS = ("data", "teacher", "student", "method", "training")
_KINDS = {
    "int": "a whole number", "float": "a number", "str": "a text", "bool": "true or false", "dict": "keys and values",
    "list": "a list", "NoneType": "null",
}  # fmt: skip
CONTROLS = ("none", "shuffled", "random", "uniform", "prototype")


@dataclass
class Recipe:
    """Everything that decides a run; the resolved recipe is saved beside every result.

    Args:
        data: what is learned.    student: who learns.    method: how.
        teacher: who teaches.    teachers: several of them by name, in place of ``teacher``.
        peers: networks beside the student by name; ``{ema: {follows: 0.99}}`` is what ``training.ema`` is short for.
        control: ``none``, or what is broken on purpose: ``shuffled`` (the teacher's answers are moved to other
            rows, as the link demands), ``random`` (noise of the same mean and spread), ``uniform`` (a teacher without
            an opinion), ``prototype`` (one that knows what the labels say and nothing else); of several teachers it
            names one, ``shuffled:NAME``.
        training: settings of :class:`limbeck.training.DistillationArguments`.
        tune: what ``limbeck compare --tune N`` searches in, key to a list of values or a range,
            ``{training.learning_rate: {low: 1.0e-4, high: 1.0e-2, log: true}}``; a single run does not read it.
        card: what the model card of the shipped student says: ``{licence: apache-2.0, base_model: ORG/NAME, datasets:
            [ORG/NAME]}``, each as the Hugging Face hub names it; nothing that is learned depends on it.
        output_dir: the run folder.
        seed: of the data, the student's weights and all draws.
    """

    data: DataSpec = field(default_factory=DataSpec)
    teacher: TeacherSpec = field(default_factory=TeacherSpec)
    student: StudentSpec = field(default_factory=StudentSpec)
    method: MethodSpec = field(default_factory=MethodSpec)
    teachers: dict[str, TeacherSpec] = field(default_factory=dict)
    peers: dict[str, PeerSpec] = field(default_factory=dict)
    control: str = "none"
    training: dict[str, Any] = field(default_factory=dict)
    tune: dict[str, Any] = field(default_factory=dict)
    card: dict[str, Any] = field(default_factory=dict)
    output_dir: str = "runs/distill"
    seed: int = 0

    def teacher_specs(self) -> dict[str, TeacherSpec]:
        """All teachers by name; the only one is called ``teacher``."""
        return dict(self.teachers) or {"teacher": self.teacher}

    def control_of(self, teacher: str) -> str:
        """What is broken of that teacher: ``none``, or a kind of control."""
        kind, _, name = self.control.partition(":")
        return kind if not name or name == teacher else "none"

    def save(self, path: str | Path) -> None:
        """Write the recipe as YAML; explicit nulls are kept."""
        import yaml

        write_whole(path, yaml.safe_dump(asdict(self), sort_keys=False))

    @classmethod
    def load(cls, path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
        """Read a YAML recipe and command-line overrides such as ``--training.learning_rate 1e-4``."""
        return parse_recipe(["--config", str(path), *overrides], data_ships=False)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """From plain values, checked like a YAML file."""
        import tempfile

        import yaml

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "recipe.yaml"
            write_whole(path, yaml.safe_dump(dict(values), sort_keys=False))
            return cls.load(path)


def recipe_parser(program: str = "limbeck distill") -> ArgumentParser:
    """The parser whose schema is :class:`Recipe`, with the trainer's settings typed as the trainer has them."""
    from argparse import SUPPRESS

    from jsonargparse import ArgumentParser

    from limbeck.recipes.training_schema import settings_class
    from limbeck.training.settings import OWNED_BY_RECIPE, is_refused

    parser = ArgumentParser(
        prog=program,
        exit_on_error=False,
        default_env=False,
        allow_abbrev=False,
        description=Recipe.__doc__,
    )
    parser.add_argument("--config", action="config", help="A YAML recipe; later options override it.")
    for name, spec in (
        ("data", DataSpec), ("teacher", TeacherSpec), ("student", StudentSpec), ("method", MethodSpec)
    ):  # fmt: skip
        parser.add_class_arguments(spec, name)
    parser.add_argument(
        "--teachers", type=dict[str, TeacherSpec], default={}, help="Several teachers by name."
    )
    parser.add_argument(
        "--peers", type=dict[str, PeerSpec], default={}, help="Networks beside the student by name."
    )
    parser.add_argument(
        "--control",
        type=str,
        default="none",
        help="none, shuffled, random, uniform, prototype; or KIND:TEACHER.",
    )
    parser.add_argument(
        "--tune", type=dict[str, Any], default={}, help="Search space of `limbeck compare --tune N`."
    )
    parser.add_argument(
        "--card",
        type=dict[str, Any],
        default={},
        help="Of the shipped student: {licence: ..., datasets: ...}.",
    )
    parser.add_argument("--output_dir", type=str, default="runs/distill", help="The run folder.")
    parser.add_argument("--seed", type=int, default=0, help="Of data, student and all draws.")
    parser.add_class_arguments(settings_class(OWNED_BY_RECIPE), "training")
    for action in parser._actions:  # known, so that the refusal can say what to set instead, and not offered
        if is_refused(str(action.dest).removeprefix("training.")):
            action.help = SUPPRESS
    return parser


def parse_recipe(
    arguments: Sequence[str],
    parser: ArgumentParser | None = None,
    *,
    data_ships: bool = True,
    look: Callable[[Recipe], None] | None = None,
) -> Recipe:
    """A checked recipe from command-line arguments.

    Args:
        data_ships: see :func:`limbeck.recipes.names.check_names`.
        look: what is checked besides, before torch is loaded (:func:`limbeck.recipes.places.check_places`).

    Raises: UnknownNameError, ConfigError, one sentence; a misspelt key comes with the nearest valid ones. What
        ``look`` raises.
    """
    from argparse import ArgumentError

    arguments = _find_recipes(arguments)
    _check_early(arguments, data_ships)
    if wrong := next((a for a in arguments if re.fullmatch(r"[a-z_]+(?:\.\w+)*=.*", a)), None):
        before = arguments[: arguments.index(wrong)]
        if not before or not before[-1].startswith("--") or "=" in before[-1]:
            raise ConfigError(f"{wrong!r} is no option; write --{wrong}.")
    arguments, parts = apart(arguments)
    parser = parser or recipe_parser()
    try:
        with _no_imports():
            values = put_in(parser.parse_args(arguments), parts, parser)
            given = parser.parse_args(arguments, defaults=False).get("training")  # also what equals a default
    except ArgumentError as error:
        raise ConfigError(_clear(str(error))) from error
    except RecursionError as error:
        raise ConfigError(
            "A value of the recipe is nested too deeply, or holds itself; write it out."
        ) from error
    recipe = Recipe(
        data=DataSpec(**values.data.as_dict()),
        teacher=TeacherSpec(**values.teacher.as_dict()),
        student=StudentSpec(**values.student.as_dict()),
        method=MethodSpec(**values.method.as_dict()),
        teachers={name: _spec(entry, TeacherSpec) for name, entry in (values.teachers or {}).items()},
        peers={name: _spec(entry, PeerSpec) for name, entry in (values.peers or {}).items()},
        control=values.control,
        training={} if given is None else given.as_dict(),
        tune=dict(values.tune or {}),
        card=dict(values.card or {}),
        output_dir=values.output_dir,
        seed=values.seed,
    )
    folders = [path.parent for path in _configs(arguments) if path not in shipped_recipes().values()]
    placed = from_its_folder(recipe, folders[-1]) if folders else recipe
    if look is not None:
        _check_teachers(recipe)  # whose banks are looked for
        look(placed)
    check_recipe(recipe)
    return placed


def _check_early(arguments: Sequence[str], data_ships: bool) -> None:
    """What can be told before the heavy imports: wrong files, names and numbers."""
    files = [_sections(path) for path in _configs(arguments)]
    given = {key: value for found in files for key, value in flat_keys(found)}
    check_names({**given, **dict(options(arguments))}, known_keys(), CONTROLS, data_ships=data_ships)


def known_keys() -> dict[str, Any]:
    """Dotted key to default of a recipe, without the trainer's."""
    return dict(flat_keys(asdict(Recipe())))


def _configs(arguments: Sequence[str]) -> list[Path]:
    """The files that ``--config`` names."""
    return [
        Path(argument.partition("=")[2] or arguments[i + 1])
        for i, argument in enumerate(arguments)
        if argument.partition("=")[0] == "--config" and (argument.partition("=")[2] or i + 1 < len(arguments))
    ]


def _sections(path: Path) -> dict[str, Any]:
    """What stands in a file. Raises: ConfigError where it is no recipe, or has a name where a section is needed."""
    found = yaml_keys(path)
    for key, value in found.items():
        if not isinstance(key, str):
            raise ConfigError(
                f"{path} has the key {key!r}, which is no name; see `limbeck distill --help-recipe`."
            )
        if key in _SECTIONS and not isinstance(value, (dict, type(None))):
            name = {"data": "name", "method": "name", "training": "max_steps"}.get(key, "model")
            shown = value if isinstance(value, str) and key != "training" else "..."
            example = f"{key}: {{{name}: {shown}}}"
            raise ConfigError(f"{key} of {path} is keys and values, as in `{example}`; it is {value!r}.")
    return found


@contextlib.contextmanager
def _no_imports() -> Iterator[None]:
    """A recipe names no class but its own; jsonargparse would import what a ``class_path`` says, wherever it stands."""
    from jsonargparse import set_parsing_settings
    from jsonargparse._common import parsing_settings  # which has no public way back

    before = dict(parsing_settings)
    set_parsing_settings(import_path_denylist=["*"], import_path_allowlist=["limbeck.recipes"])
    try:
        yield
    finally:
        parsing_settings.update(before)


def shipped_recipes() -> dict[str, Path]:
    """Name to path of the recipes in the package."""
    return {path.stem: path for path in sorted(Path(__file__).parent.glob("*.yaml"))}


def _find_recipes(arguments: Sequence[str]) -> list[str]:
    """``--config`` takes a file, or the name of a recipe that ships."""
    found, shipped = list(arguments), shipped_recipes()
    for i, argument in enumerate(found):
        flag, equals, value = argument.partition("=")
        if flag != "--config" or (not equals and i + 1 == len(found)):
            continue
        place = i if equals else i + 1
        name = value if equals else found[place]
        called = known_name(name.removesuffix(".yaml"), shipped)
        path = Path(name) if Path(name).is_file() else shipped.get(called, Path(name))
        if not path.is_file():
            raise UnknownNameError(
                f"There is no recipe {name!r}, neither a file nor one that ships; {nearest(name, shipped)}"
            )
        found[place] = f"--config={path}" if equals else str(path)
    return found


def check_recipe(recipe: Recipe) -> None:
    """Check what the types cannot: names of control and method, and the settings of method and trainer."""
    from limbeck.methods.registry import method_config

    _check_teachers(recipe)
    _check_values(recipe)
    method_config(recipe.method.name, recipe.method.config)
    check_training_keys("training", recipe.training)
    for name, spec in recipe.teacher_specs().items():
        check_training_keys(
            "teacher.training" if not recipe.teachers else f"teachers.{name}.training", spec.training
        )


def _spec(entry: Any, kind: type[Spec]) -> Spec:
    return entry if isinstance(entry, kind) else kind(**vars(entry))


def _check_teachers(recipe: Recipe) -> None:
    """Names of the control and of the teacher that it breaks; one way to name teachers at a time."""
    kind, _, whose = str(recipe.control).partition(":")
    names = list(recipe.teacher_specs())
    if kind not in CONTROLS:
        raise UnknownNameError(f"There is no control {kind!r}; {nearest(kind, CONTROLS)}")
    if recipe.teachers and recipe.teacher != TeacherSpec():
        raise ConfigError("The recipe has both teacher and teachers; name all of them under teachers.")
    if whose and whose not in names:
        raise UnknownNameError(f"The control {recipe.control!r} names no teacher; {nearest(whose, names)}")
    if kind != "none" and not whose and len(names) > 1:
        raise ConfigError(
            f"With several teachers a control names its own: write {kind}:{names[0]}, or another of "
            f"{', '.join(names)}."
        )


def _check_values(recipe: Recipe) -> None:
    """Numbers out of their range, and a folder without a name."""
    usable_name(recipe.output_dir, "output_dir")
    check_seed(recipe.seed, "seed")
    for name, spec in recipe.teacher_specs().items():
        check_seed(spec.seed, f"teachers.{name}.seed" if recipe.teachers else "teacher.seed")
    if recipe.student.max_length < 1:
        raise ConfigError(f"student.max_length must be at least 1; it is {recipe.student.max_length}.")
    for name, peer in recipe.peers.items():
        if peer.follows is None and peer.model is None:
            raise ConfigError(
                f"The peer {name!r} neither follows the student nor has a model; set peers.{name}.follows or .model."
            )
        if peer.follows is not None and not 0 <= peer.follows < 1:
            raise ConfigError(f"peers.{name}.follows must lie in [0, 1); it is {peer.follows}.")


def check_training_keys(where: str, values: Mapping[str, Any]) -> None:
    """Refuse settings that the trainer does not have or does not read, or that the recipe sets itself."""
    from limbeck.recipes.training_schema import TRAINING
    from limbeck.training.settings import check_companions

    check_training(where, values)
    defaults = {name: default for name, (_, default) in TRAINING.items()} | {"eval_strategy": "steps"}
    check_companions(where, values, lambda name: values.get(name, defaults[name]))


def _clear(message: str) -> str:
    """A parser's error as one sentence, with the nearest valid keys when a key is unknown."""
    unknown = re.search(
        r"Option '([\w.]+)' is not accepted|option '([\w.]+)'|unrecognized arguments: -*([\w.]+)", message
    )
    choice = re.search(r"Literal\[([^\]]*)\](?s:.*?)(?:Got|Given) value: (\S+)", message)
    if unknown is None and choice is not None:
        key = re.search(r'key "([\w.]+)"', message)
        options = re.findall(r"'([^']*)'", choice[1])
        where = f"The recipe's key {key[1]!r}" if key else "A setting of the recipe"
        return (
            f"{where} must be one of {', '.join(options)}, not {choice[2]!r}; {nearest(choice[2], options)}"
        )
    if unknown is None:
        nested = re.compile(r'key "([\w.]+)":\s+Problem with given class_path \S+:\s+Parser key "([\w.]+)"')
        message = nested.sub(r'key "\1 ... \2"', message)  # of one teacher of several
        lines = [line.strip(" -") for line in message.strip().splitlines()]
        said = " ".join(lines[:3]).replace('Parser key "', "The recipe's key \"").removesuffix(".")
        said = said.replace(
            "Does not validate against any of the Union subtypes Subtypes: ", "Expected one of "
        )
        return (
            re.sub(r"<class '(\w+)'>", lambda kind: _KINDS.get(kind[1], kind[1]), said).replace("a a ", "a ")
            + "."
        )
    group = re.search(r"Group '([\w.]+)'", message)
    name = next(part for part in unknown.groups() if part)
    name = f"{group.group(1)}.{name}" if group and not name.startswith(group.group(1)) else name
    return unknown_key(name, known_keys())
