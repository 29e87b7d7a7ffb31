"""The data sets of recipes."""

from __future__ import annotations

# Name to the module of :mod:`limbeck.data` and the function in it that makes the task.
TASKS: dict[str, tuple[str, str]] = {
    "audio_visual": ("audio_visual.clips", "audio_visual"),
    "av_digits": ("benchmarks.av_digits", "av_digits"),
    "emoji": ("benchmarks.emoji", "emoji"),
    "folders": ("own.two_folders", "two_folders"),
    "glyph_questions": ("benchmarks.glyph_questions", "glyph_questions"),
    "glyphs": ("benchmarks.glyphs", "glyphs"),
    "glue": ("benchmarks.glue", "glue"),
    "hateful_memes": ("benchmarks.posts", "hateful_memes"),
    "instructions": ("own.instructions", "instructions"),
    "mm_imdb": ("benchmarks.posts", "mm_imdb"),
    "own": ("own.own_data", "own_data"),
    "prompts": ("own.prompt_table", "prompt_table"),
    "rewrite": ("benchmarks.rewrite", "rewrite"),
    "texts": ("own.text_table", "text_table"),
    "vec": ("benchmarks.vec", "vec"),
}
# Settings that every one of them has beside its own.
OF_EVERY_TASK = ("unpair",)
