"""``limbeck distill`` in two processes: one result, written once, as a single process writes it."""

import json
import os
import socket
import subprocess
import sys

import pytest
import torch
import yaml

TRAINING = {"max_steps": 12, "n_labelled": 8, "learning_rate": 0.01, "use_cpu": True, "ddp_backend": "gloo"}


def table(path, width, seed):
    generator = torch.Generator().manual_seed(seed)
    lines = ["key,label," + ",".join(f"c{i}" for i in range(width))]
    for row in range(120):
        label = row % 3
        values = torch.randn(width, generator=generator) + 2 * label
        lines.append(f"k{row},{'abc'[label]}," + ",".join(f"{v:.4f}" for v in values))
    path.write_text("\n".join(lines))


def recipe(folder, output):
    table(folder / "student.csv", 5, 1)
    table(folder / "teacher.csv", 4, 2)
    values = {
        "data": {
            "name": "folders",
            "config": {
                "student": str(folder / "student.csv"),
                "teacher": str(folder / "teacher.csv"),
                "student_modality": "table",
                "teacher_modality": "table",
                "link": "by_class",
            },
        },
        "teacher": {"model": "table_encoder", "config": {"n_columns": 4}, "training": TRAINING},
        "student": {"model": "table_encoder", "config": {"n_columns": 5, "dropout": 0.0}},
        "method": {"name": "kd"},
        "training": TRAINING,
        "output_dir": str(output),
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def distil(path, n_processes):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "limbeck.cli", "distill", "--config", str(path), "--json"]
    processes = []
    for rank in range(n_processes):
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        if n_processes > 1:
            env |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(n_processes)}
            env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        processes.append(
            subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
    answers = [process.communicate(timeout=240) for process in processes]
    assert [process.returncode for process in processes] == [0] * n_processes, [err for _, err in answers]
    return [out for out, _ in answers]


@pytest.mark.slow
def test_two_processes_write_one_result(tmp_path):
    (tmp_path / "data").mkdir()
    printed = distil(recipe(tmp_path / "data", tmp_path / "two"), 2)
    assert not printed[1].strip(), "only the first process prints"
    alone = distil(recipe(tmp_path / "data", tmp_path / "one"), 1)
    for folder in ("one", "two"):
        kept = {path.name for path in (tmp_path / folder).iterdir()}
        assert {"recipe.yaml", "metrics.json", "log.jsonl", "report.html", "student", "bank"} <= kept
    scores = [json.loads(text)["scores"] for text in (printed[0], alone[0])]
    assert scores[0].keys() == scores[1].keys()
    for split, value in scores[0].items():
        assert value == pytest.approx(scores[1][split], abs=0.1)
