"""What a bank costs over the encoder's own loop: python benchmarks/asking.py texts|pictures

``texts``: ``Bank.build`` with MiniLM (extra ``text``) against ``SentenceTransformer.encode`` on the same texts, in one
process and thread, in turn. Processor time, since a bank also writes to the disk.

``pictures``: JPEGs of 512 x 512 pixels before ViT-small (drawn at random), one thread for the model: wall time of
``Bank.build``, which decodes in another thread, against decoding alone, the forward alone, ``transformers.pipeline``
and ``datasets.map``; and the same with a quarter of its layers and larger patches, whose forward takes about as long as
decoding. It needs two cores that are free. Ratios are of medians.
"""

from __future__ import annotations

import argparse
import inspect
import logging
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from limbeck.banks import Bank
from limbeck.students.text import text_model_path
from limbeck.teachers import HFTeacher


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("texts", "pictures"))
    parser.add_argument("--rows", type=int, help="default 3,000 texts or 2,000 pictures")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--turns", type=int, default=3)
    values = parser.parse_args()
    torch.set_num_threads(1)
    if values.what == "texts":
        compare_texts(values.rows or 3000, values.batch_size, values.turns)
    else:
        compare_pictures(values.rows or 2000, values.batch_size, values.turns)


def medians(
    jobs: dict[str, Callable[[], object]], turns: int, clock: Callable[[], float]
) -> dict[str, float]:
    """Seconds of each job, run in turn, in the other order every second time."""
    spent: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(turns):
        for name in list(jobs) if turn % 2 else list(jobs)[::-1]:
            start = clock()
            jobs[name]()
            spent[name].append(clock() - start)
    return {name: statistics.median(times) for name, times in spent.items()}


def compare_texts(n: int, size: int, turns: int) -> None:
    from sentence_transformers import SentenceTransformer

    path = text_model_path("minilm")
    encoder, teacher = SentenceTransformer(str(path), device="cpu"), HFTeacher(str(path))
    mixed = english(n)
    equal = of_equal_length(mixed, set(teacher_words(path)))
    print("| texts | encode, s | bank, s | ratio | largest difference |")
    print("|---|---|---|---|---|")
    for name, texts in (("40 tokens each", equal), ("mixed lengths", mixed)):
        report(name, texts, encoder, teacher, size, turns)


def english(n: int) -> list[str]:
    """Texts of mixed length that every machine has: paragraphs of the standard library's documentation."""
    found: list[str] = []
    for name in sorted(sys.stdlib_module_names):
        try:
            source = inspect.getsource(sys.modules[name]) if name in sys.modules else ""
        except (OSError, TypeError):
            continue
        for paragraph in source.split('"""')[1::2]:
            found += [" ".join(part.split()) for part in paragraph.split("\n\n") if len(part.split()) > 3]
    return [found[i * 7919 % len(found)] for i in range(n)]


def of_equal_length(texts: list[str], words: set[str], n: int = 40) -> list[str]:
    """Those words of each text that are one token each, filled up to ``n``: nothing is padded on either side."""
    known = [[word for word in text.lower().split() if word in words] for text in texts]
    return [" ".join((some + ["word"] * n)[:n]) for some in known]


def teacher_words(path: Path | str) -> list[str]:
    """Letters-only entries of the tokenizer's vocabulary."""
    from transformers import AutoTokenizer

    return [word for word in AutoTokenizer.from_pretrained(path).get_vocab() if word.isalpha()]


def report(name: str, texts: list[str], encoder: Any, teacher: HFTeacher, size: int, turns: int) -> None:
    root = Path(tempfile.mkdtemp())
    rows = {"id": [str(i) for i in range(len(texts))], "text": texts}

    def build() -> Bank:
        shutil.rmtree(root / "bank", ignore_errors=True)
        return Bank.build(root / "bank", teacher, rows, key="id", batch_size=size)

    def encode() -> torch.Tensor:
        return encoder.encode(texts, batch_size=size, convert_to_tensor=True)

    made: dict[str, Any] = {}
    jobs = {"bank": lambda: made.update(bank=build()), "encode": lambda: made.update(own=encode())}
    seconds = medians(jobs, turns, time.process_time)
    gap = (made["bank"].lookup(rows["id"]).features - made["own"]).abs().max().item()
    bank, own = seconds["bank"], seconds["encode"]
    print(f"| {name} | {own:.1f} | {bank:.1f} | {bank / own:.2f} | {gap:.1e} |", flush=True)
    shutil.rmtree(root)


def compare_pictures(n: int, size: int, turns: int) -> None:
    root = Path(tempfile.mkdtemp())
    files = jpegs(root, n)
    print(
        "| ViT-small | decode | forward | bank | to the larger | bank, no thread | pipeline | datasets.map |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name, patch, layers in (("ViT-small", 16, 12), ("patches of 32, 3 layers", 32, 3)):
        jobs = picture_jobs(root, files, vit(root, patch, layers), size)
        seconds = medians(jobs, turns, time.perf_counter)
        larger = max(seconds["decode"], seconds["forward"])
        cells = [f"{seconds[job]:.1f} s" for job in ("decode", "forward", "bank")]
        cells += [f"{seconds['bank'] / larger:.2f}"]
        cells += [f"{seconds[job] / seconds['bank']:.2f} x" for job in ("no thread", "pipeline", "map")]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    shutil.rmtree(root)


def jpegs(root: Path, n: int) -> list[str]:
    """Files with coarse and fine structure, as photographs have."""
    from PIL import Image

    rng, files = np.random.default_rng(0), []
    for i in range(n):
        coarse = Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)).resize((512, 512))
        fine = np.asarray(coarse, dtype=np.int16) + rng.integers(-12, 12, (512, 512, 3))
        files.append(str(root / f"{i}.jpg"))
        Image.fromarray(fine.clip(0, 255).astype(np.uint8)).save(files[-1], quality=90)
    return files


def vit(root: Path, patch: int, layers: int) -> str:
    """A ViT of the width of ViT-small with weights drawn at random, saved with its image processor."""
    from transformers import ViTConfig, ViTImageProcessor, ViTModel

    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=384,
        num_hidden_layers=layers,
        num_attention_heads=6,
        intermediate_size=1536,
        patch_size=patch,
    )
    folder = str(root / f"vit-{patch}")
    ViTModel(config, add_pooling_layer=False).eval().save_pretrained(folder)
    ViTImageProcessor().save_pretrained(folder)
    return folder


def picture_jobs(root: Path, files: list[str], folder: str, size: int) -> dict[str, Callable[[], object]]:
    """The same mean over the same last states, in five ways; decoding and the forward alone."""
    import datasets
    from transformers import AutoImageProcessor, AutoModel, pipeline

    datasets.disable_caching()
    datasets.disable_progress_bars()
    teacher = HFTeacher(folder)
    model = AutoModel.from_pretrained(folder, add_pooling_layer=False).eval()
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    piped = pipeline("image-feature-extraction", model=model, image_processor=processor, batch_size=size)
    table = datasets.Dataset.from_dict({"image": files}).cast_column("image", datasets.Image())
    rows = {"id": files, "image": files}
    batches = [files[i : i + size] for i in range(0, len(files), size)]
    ready = teacher.prepare({"image": batches[0]})

    def build(workers: int) -> None:
        shutil.rmtree(root / "bank", ignore_errors=True)
        Bank.build(root / "bank", teacher, rows, key="id", batch_size=size, workers=workers)

    def asked(batch: dict[str, Any]) -> dict[str, Any]:
        with torch.no_grad():
            states = model(**processor(images=batch["image"], return_tensors="pt")).last_hidden_state
        return {"features": states.mean(1).numpy()}

    return {
        "decode": lambda: [teacher.prepare({"image": batch}) for batch in batches],
        "forward": lambda: [teacher.read(ready) for _ in batches],
        "bank": lambda: build(1),
        "no thread": lambda: build(0),
        "pipeline": lambda: [x.mean(1) for x in piped(files, return_tensors=True)],
        "map": lambda: table.map(asked, batched=True, batch_size=size, remove_columns=["image"]),
    }


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    main()
