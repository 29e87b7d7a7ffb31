"""The sections of a recipe: what is learned, who teaches, who learns beside whom, and how."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from limbeck.data.names import TASKS
from limbeck.errors import known_name
from limbeck.methods.registry import METHODS, PRESETS


@dataclass
class DataSpec:
    """What is learned, and what links the modalities.

    Args:
        name: a data set of :mod:`limbeck.data` (``av_digits``, ``folders``, ``glyphs``, ``emoji``, ``glue``, ...).
        config: arguments of that data set, for example ``{link: bagged, labels_per_class: 5}``.
        side: name of a teacher, to learn what that teacher is to know, its own labelled rows and views, in place of the
            student's: so a teacher is trained.
    """

    name: str = "av_digits"
    config: dict[str, Any] = field(default_factory=dict)
    side: str | None = None

    def __post_init__(self) -> None:
        self.name = known_name(self.name, TASKS)


@dataclass
class TeacherSpec:
    """Who teaches.

    Args:
        bank: path of a bank that exists; the teacher is then not asked. null = make one.
        model: the teacher's network: a reference encoder, or ``hf:PATH``.
        config: arguments of that model.
        train: train it on its own modality first, choosing by its own validation split.
        training: trainer settings of that training.
        seed: of the teacher; it does not change with the student's seed.
        class_map: student class name to teacher class name, where they differ.
        live: ask it in every step of the training, in this process, in place of a bank: ``model`` (the network named
            under ``model``, trained first if ``train`` is set) or ``hf:PATH``.
        changes: what trains inside a live teacher, while everything else in it stays: ``[{name: adapter, at: head}]``.
        view: ``teacher`` (its own samples of the rows), or ``same``: the student's rows, of a live teacher with the
            views that the student is shown; for a teacher of the student's modality.
        link: what links it to the student, where the data do not say or say otherwise: ``paired`` (by equal keys),
            ``by_class`` or ``unpaired``.
        init: folder of a shipped student (``RUN/student``) of that network, whose weights it has; it is not trained.
        loading: how a live ``hf:PATH`` comes into memory: ``dtype`` (``float32``, ``bfloat16``, ``float16``),
            ``compile``, ``device``, ``device_map``, ``revision``.
    """

    bank: str | None = None
    model: str = "small_conv_net"
    config: dict[str, Any] = field(default_factory=dict)
    train: bool = True
    training: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    class_map: dict[str, str] | None = None
    live: str | None = None
    changes: list[dict[str, Any]] = field(default_factory=list)
    view: Literal["teacher", "same"] = "teacher"
    link: Literal["paired", "partly_paired", "by_class", "unpaired"] | None = None
    init: str | None = None
    loading: dict[str, Any] = field(default_factory=dict)

    @property
    def is_trained_first(self) -> bool:
        """Whether its network has yet to be trained before it can be asked."""
        return self.train and self.bank is None and self.init is None and self.live in (None, "model")


@dataclass
class StudentSpec:
    """Who learns.

    Args:
        model: a reference encoder (``small_conv_net``, ...), ``hf:PATH`` for a transformers model, ``minilm``
            for the sentence encoder that ships with the extra ``text``, or ``MODULE:FACTORY``, a network of one's own,
            which is imported only where ``--trust-code`` is given.
        config: arguments of that model.
        pooling: text encoders: ``mean``, ``last`` or ``cls`` of the last hidden states into a new linear head;
            null = the model's own classification head (``mean`` for ``minilm``).
        lora: adapters in place of full fine-tuning, ``{r: 8, alpha: 16, dropout: 0.05}``; null = none.
        max_length: of texts, in tokens; longer ones are cut and counted.
        dtype: of the weights: ``float32`` or ``bfloat16``.
        freeze: parts that are not trained: module paths, ``embeddings``, ``layers:N`` (the N lowest, and
            what comes before them).
        init: folder of a shipped student (``RUN/student``) of the same network, whose weights it starts from.
    """

    model: str = "small_conv_net"
    config: dict[str, Any] = field(default_factory=dict)
    pooling: Literal["mean", "last", "cls"] | None = None
    lora: dict[str, Any] | None = None
    max_length: int = 128
    dtype: Literal["float32", "bfloat16"] = "float32"
    freeze: list[str] = field(default_factory=list)
    init: str | None = None


@dataclass
class PeerSpec:
    """A network beside the student: an average of it, or a fellow that learns too.

    Args:
        follows: decay of an average of the student, in [0, 1); null = a fellow.
        model, config: of a fellow, as of a student: one of the student's modality that is shown the same.
        freeze: parts of a fellow that are not trained.
    """

    follows: float | None = None
    model: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    freeze: list[str] = field(default_factory=list)


@dataclass
class MethodSpec:
    """How it learns.

    Args:
        name: a method of the registry (``limbeck methods``).
        config: its settings.
        init: folder of a run whose method's own parts (an aligner, projections) it starts from.
    """

    name: str = "supervised"
    config: dict[str, Any] = field(default_factory=dict)
    init: str | None = None

    def __post_init__(self) -> None:
        self.name = known_name(self.name, (*METHODS, *PRESETS))
