"""The Trainer's switch reaches a Hugging Face student, and does not change what is learned."""

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from limbeck.data.base import Examples
from limbeck.methods.declared import Shapes, Side
from limbeck.methods.registry import method_class, method_config
from limbeck.students import Student
from limbeck.training import DistillationArguments, DistillationTrainer, Distiller
from limbeck.training.collator import DistillationCollator


def trained(folder, **switch) -> list[torch.Tensor]:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(vocab_size=20, num_labels=3, hidden_dropout_prob=0.0, **sizes)
    config.attention_probs_dropout_prob = 0.0
    student = Student(BertForSequenceClassification(config))
    tokens = torch.randint(0, 20, (12, 5))
    rows = Examples.classified({"input_ids": tokens}, tuple(range(12)), torch.arange(12) % 3, ("a", "b", "c"))
    student.probe(rows.rows([0]))
    method = method_class("supervised")(method_config("supervised"), Shapes(Side(16, 3)))
    collate = DistillationCollator(rows, views={}, seed=0)
    arguments = DistillationArguments(output_dir=str(folder), max_steps=3, n_labelled=6, **switch)
    DistillationTrainer(
        Distiller(student, method, problem=rows.problem), arguments, collate, method_name="supervised"
    ).train()
    assert student.model.is_gradient_checkpointing == bool(switch)
    return [p.detach() for p in student.parameters()]


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.full
def test_checkpointing_changes_memory_and_nothing_else(tmp_path):
    for one, other in zip(trained(tmp_path), trained(tmp_path, gradient_checkpointing=True)):
        torch.testing.assert_close(one, other)
