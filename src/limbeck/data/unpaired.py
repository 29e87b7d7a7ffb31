"""Pairs of any data set taken apart: the indices of one modality are permuted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from limbeck.data.task import Task
from limbeck.errors import LinkError
from limbeck.seeding import keyed_seed
from limbeck.signals.links.paired import Paired


def index_shuffled(task: Task, seed: int) -> Task:
    """The task with every pair broken: the student's rows meet the teacher's in a random order, whatever their class.
    Labels stay with their rows, on both sides.

    Args:
        seed: of the permutation, one for each teacher.

    Raises: LinkError where nothing is paired.
    Source: the unpaired setting of UCMKD, arXiv 2606.10504, section 4.
    """
    sides = {}
    for name, side in task.teachers.items():
        if not isinstance(side.link, Paired):
            continue
        ours, theirs = list(side.link.teacher_of), list(side.link.teacher_of.values())
        order = np.random.default_rng(keyed_seed("unpair", name, seed)).permutation(len(theirs))
        mixed = {key: theirs[place] for key, place in zip(ours, order.tolist(), strict=True)}
        sides[name] = replace(side, link=type(side.link)(mixed))
    if not sides:
        links = ", ".join(dict.fromkeys(side.link.name for side in task.teachers.values())) or "none"
        raise LinkError(
            f"unpair permutes pairs, and the data {task.name!r} have none (link: {links}); take link: paired, or leave "
            "unpair out."
        )
    return replace(task, teachers={**task.teachers, **sides}, info={**task.info, "unpaired": True})
