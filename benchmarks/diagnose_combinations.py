"""The combinations of teacher, link and labels over which benchmarks/diagnose.py judges the diagnosis.

Names: ``p`` pairs, ``b`` bags of so many rows, ``c`` by class, ``u`` unpaired; ``w60``: 60% of the pairs or bags are
permuted; ``n30``: 30 linked rows (``n10``: 10 bags); ``u`` behind a bag's size: nearly uniform mixes; ``i``: counts
drawn independently; ``L5``: 5 labels a class. In front: ``e_col``, ``e_grp`` emoji, ``g_hol``, ``g_sym``, ``g_ink``
glyphs; nothing = digits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from limbeck.banks.bank import Bank
from limbeck.data import make_task
from limbeck.data.base import Examples
from limbeck.data.benchmarks.bags import mixed_bags
from limbeck.data.splits import Splits
from limbeck.data.task import Task, TeacherSide
from limbeck.recipes import DataSpec, MethodSpec, Recipe, StudentSpec, TeacherSpec
from limbeck.seeding import keyed_seed
from limbeck.signals.classes import UNLABELLED
from limbeck.signals.links import Bagged, ByClass, Link, Paired, Unpaired
from limbeck.teacher_stage import trained_teacher
from limbeck.teachers import ModuleTeacher

DIGIT_TRAINING: dict[str, Any] = {
    "max_steps": 240,
    "n_labelled": 32,
    "n_unlabelled": 64,
    "n_bags": 4,
    "learning_rate": 2e-3,
    "weight_decay": 0.05,
    "weight_decay_on": "all",
    "warmup_steps": 0.1,
    "lr_scheduler_type": "cosine",
    "max_grad_norm": 5.0,
    "ema": True,
}
TEXT_TRAINING: dict[str, Any] = {
    "max_steps": 100,
    "n_labelled": 16,
    "n_unlabelled": 32,
    "learning_rate": 1e-3,
    "weight_decay": 0.01,
    "warmup_steps": 0.1,
    "lr_scheduler_type": "linear",
}
TEXT_STUDENT = StudentSpec("minilm", pooling="mean", max_length=16, freeze=["embeddings", "layers:5"])
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "kd": ("kd", {"temperature": 1.0}),
    "c_kd": ("kd", {"temperature": 4.0}),
    "b": ("bagkd", {}),
    "arm": ("armada", {"manifold": "pairs"}),
    "fot": ("feature_ot", {}),
    "ucmkd": ("ucmkd", {}),
}
TEXT_TASKS = {
    "e_col": ("emoji", "dominant_color"),
    "e_grp": ("emoji", "group"),
    "g_hol": ("glyphs", "holes"),
    "g_sym": ("glyphs", "symmetry"),
    "g_ink": ("glyphs", "ink"),
}
NAMES: list[str] = """
p_T02_L2 p_T02_L20 p_T02_n200_L5 p_T02over_L2 p_T100_L0 p_T100_L2 p_T100_L20 p_T10_L2 p_T10_w30_L5 p_T1_L2 p_T1_L5
p_Tinv_L2 p_Tmov_L2 p_Tshuf_L2 p_Tsk_L5 p_Tswap_L5 p_n100_L2 p_n30_L2 p_n30_L5 p_w30_L2 p_w60_L2 p_w60_L20 p_w90_L2
b128_L2 b128u_L5 b16_L0 b16_T02_L2 b16_Tshuf_L2 b16i_L5 b16_w50_L2 b32_L2 b32_T1_L20 b32u_L2 b32u_L20 b8_L2 b8_n10_L2
c_fot_L5 c_kd_L2 c_ucmkd_L2 c_ucmkd_L20 c_ucmkd_T02_L5 c_ucmkd_Tshuf_L2 u_fot_L2 u_ucmkd_L5
e_col_arm_L10 e_col_kd_L10 e_col_kd_L2 e_col_kd_w60_L10 e_col_kd_weak_L10 e_grp_arm_L10 e_grp_arm_L2 e_grp_kd_L10
e_grp_kd_L2 g_hol_arm_L10 g_hol_kd_L10 g_hol_kd_L2 g_hol_kd_w60_L10 e_col_b8_L10 e_grp_b8_L2 g_hol_b8_L10 e_col_fot_L10
""".split()  # noqa: SIM905
# Of which nothing was known when the rule was written.
FRESH: list[str] = """
p_T1_w60_L2 p_T02_w30_L2 p_n100_L5 p_T10_n100_L2 p_Tswap_L2 p_Tsk_L2 b8_w50_L2 b16_T1_L5 b32_w50_L5 b64_L2
g_sym_kd_L10 g_sym_arm_L10 g_ink_kd_L10 g_ink_kd_weak_L10 g_sym_b8_L10 e_col_kd_w90_L10
""".split()  # noqa: SIM905


@dataclass(frozen=True)
class Combination:
    """One line of the study, read from its name."""

    name: str
    kind: str  # p, b, c, u
    labels: int
    teacher: str
    method: str
    text: str = ""  # of TEXT_TASKS; "" = digits
    bag_size: int = 0
    wrong: float = 0.0
    n: int | None = None
    even: bool = False
    independent: bool = False

    @classmethod
    def named(cls, name: str) -> Combination:
        text = next((task for task in TEXT_TASKS if name.startswith(task)), "")
        parts = name.removeprefix(text + "_").split("_") if text else name.split("_")
        bag = next((m for part in parts if (m := re.fullmatch(r"b(\d+)([ui]?)", part))), None)
        kind = "b" if bag else "u" if "fot" in parts and text else "p" if text else parts[0]
        method = next((p for p in parts if p in METHODS), "kd" if kind == "p" else "b")
        return cls(
            name,
            kind,
            int(_number(parts, "L") or 0),
            next((p for p in parts if p[0] == "T"), "weak" if "weak" in parts else "T100"),
            "c_kd" if kind == "c" and method == "kd" else method,
            text,
            int(bag[1]) if bag else 0,
            (_number(parts, "w") or 0) / 100,
            _number(parts, "n"),
            bool(bag and bag[2] == "u"),
            bool(bag and bag[2] == "i"),
        )


def _number(parts: list[str], letter: str) -> int | None:
    return next((int(m[1]) for part in parts if (m := re.fullmatch(rf"{letter}(\d+)", part))), None)


@dataclass
class Studies:
    """Makes tasks, teachers and recipes; teachers are trained and asked once and kept in ``folder``."""

    data: Path
    folder: Path
    accuracy: dict[str, float] = field(
        default_factory=dict
    )  # of teachers on rows of their own that they have not seen
    _banks: dict[tuple[str, bool], Bank] = field(default_factory=dict)

    def recipe(
        self, c: Combination, seed: int, *, method: tuple[str, Mapping[str, Any]] | None = None
    ) -> Recipe:
        name, config = method or METHODS[c.method]
        return Recipe(
            data=self._data(c),
            teacher=TeacherSpec(bank="given"),
            student=TEXT_STUDENT if c.text else StudentSpec(),
            method=MethodSpec(name, dict(config)),
            training=dict(TEXT_TRAINING if c.text else DIGIT_TRAINING),
            output_dir=str(self.folder / "runs" / f"{c.name}-{name}-{seed}"),
            seed=seed,
        )

    def _data(self, c: Combination) -> DataSpec:
        if c.text:
            name, kind = TEXT_TASKS[c.text]
            config: dict[str, Any] = {"task": kind, "labels_per_class": c.labels}
            config |= {"pairs": "none" if c.kind == "u" else "all"}
            config |= {"folder": str(self.data / "emoji")} if name == "emoji" else {}
            return DataSpec(name, config)
        config = {"images": f"mnist:{self.data / 'mnist'}", "audio": f"fsdd:{self.data / 'fsdd'}"}
        config |= {"labels_per_class": c.labels, "link": "by_class" if c.kind == "c" else "paired"}
        config |= {"n_unlabelled": c.n} if c.kind == "p" and c.n else {}
        return DataSpec("av_digits", config)

    def task(self, c: Combination, seed: int) -> Task:
        spec = self._data(c)
        task = make_task(spec.name, spec.config, seed=seed)
        return replace(task, teachers={"teacher": replace(task.teacher, link=self._link(c, task, seed))})

    def _link(self, c: Combination, task: Task, seed: int) -> Link:
        rng = np.random.default_rng(keyed_seed("diagnose", c.name, seed))
        if c.kind in "cu":
            return ByClass() if c.kind == "c" else Unpaired()
        if c.kind == "p":
            pairs = task.teacher.link.teacher_of  # type: ignore[attr-defined]
            keys, partners = list(pairs), np.array(list(pairs.values()), dtype=object)
            return Paired(dict(zip(keys, _permuted(partners, c.wrong, rng).tolist())))
        train, truth = task.splits["train"], task.truth
        assert truth is not None
        free = np.flatnonzero(train.labels.numpy() == UNLABELLED)
        theirs, classes_t = self._bag_teachers(c, task, free)
        bags = mixed_bags(
            truth.numpy()[free],
            classes_t,
            n_classes=len(task.class_names),
            bag_size=c.bag_size,
            n_bags=c.n or 10_000,
            counts="independent" if c.independent else "same",
            rng=rng,
            concentration=100.0 if c.even else 0.3,
        )
        order = _permuted(np.arange(len(bags)), c.wrong, rng)
        return Bagged(
            {train.keys[free[row]]: bag for bag, members in enumerate(bags.student) for row in members},
            {theirs[row]: int(order[bag]) for bag, members in enumerate(bags.teacher) for row in members},
        )

    def _bag_teachers(self, c: Combination, task: Task, free: np.ndarray) -> tuple[list[Any], np.ndarray]:
        """Keys and classes of the teacher rows that bags are made of."""
        assert task.truth is not None
        if c.text:
            keys = [f"image/{task.splits['train'].keys[row].removeprefix('text/')}" for row in free]
            return keys, task.truth.numpy()[free]
        link = self._digit_images().splits["link"]
        return list(link.keys), link.labels.numpy()

    # ---- teachers -------------------------------------------------------------------------------------------

    def bank(self, c: Combination) -> Bank:
        """What the teacher says of every row that it may be linked with; labels only where the link needs them."""
        name, labelled = f"{c.text or 'digits'}-{c.teacher}", c.kind in "cu"
        if (name, labelled) not in self._banks:
            path = self.folder / "banks" / f"{name}{'-labels' * labelled}"
            if not (path / "bank.json").is_file():
                self._ask(c, path, labelled)
            self._banks[name, labelled] = Bank.open(path)
            self.accuracy[name] = float((path / "own_accuracy.txt").read_text())
        return self._banks[name, labelled]

    def own_accuracy(self, c: Combination) -> float:
        self.bank(c)
        return self.accuracy[f"{c.text or 'digits'}-{c.teacher}"]

    def _ask(self, c: Combination, path: Path, labelled: bool) -> None:
        model, rows, accuracy = self._text_teacher(c) if c.text else self._digit_teacher(c.teacher)
        teacher = ModuleTeacher(model, class_names=rows.class_names)
        said = [teacher(rows.rows(range(i, min(i + 256, len(rows))))) for i in range(0, len(rows), 256)]
        logits = torch.cat([part.logits for part in said])
        if c.teacher == "Tswap":
            logits = logits[:, [1, 0, 3, 2, 5, 4, 6, 7, 8, 9]]
        Bank.from_arrays(
            path,
            keys=rows.keys,
            features=torch.cat([part.features for part in said]),
            logits=logits * (8 if c.teacher == "T02over" else 1),
            labels=rows.labels if labelled else None,
            class_names=rows.class_names,
            head=teacher.head,
        )
        (path / "own_accuracy.txt").write_text(str(0.38 if c.teacher == "Tswap" else accuracy))

    def _digit_images(self, source: str | None = None) -> TeacherSide:
        """The images' side, ``link`` all 5,000 with their labels."""
        config = {"images": source or f"mnist:{self.data / 'mnist'}", "audio": f"fsdd:{self.data / 'fsdd'}"}
        return make_task("av_digits", {**config, "link": "by_class"}).teacher

    def _digit_teacher(self, name: str) -> tuple[Any, Examples, float]:
        side = self._digit_images("sklearn" if name == "Tsk" else None)
        train, asked = side.splits["train"], self._digit_images().splits["link"]
        base = {"Tswap": "T100", "Tinv": "T100", "Tmov": "T100", "T02over": "T02"}.get(name, name)
        per_class = {"T10": 140, "T1": 14, "T02": 3}.get(base)
        if per_class:
            rows = torch.cat([torch.nonzero(train.labels == k).squeeze(1)[:per_class] for k in range(10)])
            train = train.subset(rows)
        if base == "Tshuf":
            order = np.random.default_rng(0).permutation(len(train))
            train = Examples.classified(
                dict(train.inputs), train.keys, train.labels[order], train.class_names
            )
        if name in ("Tinv", "Tmov"):
            shifted = torch.roll(asked.all_rows()["x"], 4 if name == "Tinv" else 5, dims=-1)
            asked = replace(asked, inputs={"x": -shifted if name == "Tinv" else shifted})
        model, accuracy = self._trained(base, side, train, TeacherSpec())
        return model, asked, accuracy

    def _text_teacher(self, c: Combination) -> tuple[Any, Examples, float]:
        task = self.task(replace(c, kind="u", wrong=0.0, labels=10), 0)
        side, is_emoji = task.teacher, c.text.startswith("e")
        train = side.splits["train"]
        if c.teacher == "weak":
            train = train.subset(np.random.default_rng(0).permutation(len(train))[:100])
        config = {"channels": [16, 32, 64, 128]} | ({} if is_emoji else {"in_channels": 1})
        steps = {"max_steps": 400 if is_emoji else 800, "n_labelled": 64}
        spec = TeacherSpec(model="image_encoder", config=config, training=steps)
        model, accuracy = self._trained(f"{c.text}-{c.teacher}", side, train, spec)
        return model, side.splits["link"], accuracy

    def _trained(self, name: str, side: TeacherSide, train: Examples, spec: TeacherSpec) -> tuple[Any, float]:
        """A teacher trained on other rows than its side's own, as the recipe would train it, and its test accuracy."""
        roles = {"train": train, "validation": side.splits["validation"], "link": side.splits["link"]}
        with side.splits.final_evaluation() as final:
            roles["test"] = final["test"]
        side = TeacherSide(Splits(**roles), Unpaired(), side.views)
        own = Task(name, Splits(train=train), {"teacher": side})
        model, scores = trained_teacher(spec, own, self.folder / "teachers" / name)
        return model, scores["test"]


def _permuted(values: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """A share of the values moved among themselves, none of those staying where it was."""
    moved = values.copy()
    chosen = rng.permutation(len(values))[: round(share * len(values))]
    if len(chosen) > 1:
        moved[chosen] = values[np.roll(chosen, 1)]
    return moved
