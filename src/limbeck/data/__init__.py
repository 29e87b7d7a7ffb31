"""Modalities, views, splits, benchmarks and user data: everything that makes a :class:`Task`."""

from limbeck.data.av_digits import av_digits
from limbeck.data.base import UNLABELLED, Examples, Inputs, Task, View
from limbeck.data.folders import FolderData, folder
from limbeck.data.glue import glue
from limbeck.data.splits import Splits
from limbeck.data.tasks import TASKS, make_task
from limbeck.data.text_table import text_table
from limbeck.data.two_folders import two_folders
from limbeck.data.vec import vec
from limbeck.data.views import GridView, VectorView, audio_views, image_views, vector_views

__all__ = [
    "TASKS",
    "UNLABELLED",
    "Examples",
    "FolderData",
    "GridView",
    "Inputs",
    "Splits",
    "Task",
    "VectorView",
    "View",
    "audio_views",
    "av_digits",
    "folder",
    "glue",
    "image_views",
    "make_task",
    "text_table",
    "two_folders",
    "vec",
    "vector_views",
]
