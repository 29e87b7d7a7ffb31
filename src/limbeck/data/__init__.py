"""Modalities, views, splits, benchmarks and user data: everything that makes a :class:`Task`."""

from limbeck.data.av_digits import av_digits
from limbeck.data.base import UNLABELLED, Examples, Inputs, Task, View
from limbeck.data.splits import Splits
from limbeck.data.tasks import TASKS, make_task
from limbeck.data.views import GridView, VectorView, audio_views, image_views, vector_views

__all__ = [
    "TASKS",
    "UNLABELLED",
    "Examples",
    "GridView",
    "Inputs",
    "Splits",
    "Task",
    "VectorView",
    "View",
    "audio_views",
    "av_digits",
    "image_views",
    "make_task",
    "vector_views",
]
