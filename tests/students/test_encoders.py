import pytest
import torch

from limbeck.students import (
    Student,
    audio_encoder,
    image_encoder,
    series_encoder,
    small_conv_net,
    table_encoder,
    text_encoder,
)

CASES = [
    (small_conv_net, {}, torch.randn(4, 1, 32, 32)),
    (small_conv_net, {"in_channels": 3}, torch.randn(4, 3, 28, 28)),
    (image_encoder, {"channels": (4, 8), "dropout": 0.5}, torch.randn(4, 3, 17, 9)),
    (audio_encoder, {"channels": (4, 8)}, torch.randn(4, 1, 64, 101)),
    (text_encoder, {"vocab_size": 50}, torch.randint(0, 50, (4, 7))),
    (series_encoder, {"in_channels": 3}, torch.randn(4, 3, 9)),
    (table_encoder, {"n_columns": 6, "dropout": 0.5}, torch.randn(4, 6)),
    (table_encoder, {"n_columns": 6, "hidden": ()}, torch.randn(4, 6)),
]


@pytest.mark.parametrize(("make", "config", "x"), CASES)
def test_encoders_are_plain_sequential_students(make, config, x):
    model = make(5, **config)
    assert type(model) is torch.nn.Sequential
    student = Student(model).train()
    out = student({"x": x})
    assert out.logits.shape == (4, 5)
    weight, bias = student.head_layer
    out = student.eval()({"x": x})
    torch.testing.assert_close(torch.nn.functional.linear(out.features, weight, bias), out.logits)
    out.logits.sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_sizes():
    def count(model):
        return sum(p.numel() for p in model.parameters())

    assert count(small_conv_net(10)) == 65_122
    assert 1.1e6 < count(image_encoder(10)) < 1.3e6
    assert 0.25e6 < count(audio_encoder(10)) < 0.35e6


def test_padding_counts_for_nothing():
    model = text_encoder(3, vocab_size=20, dropout=0.0)
    short, long = torch.tensor([[3, 4]]), torch.tensor([[3, 4, 0, 0]])
    torch.testing.assert_close(model(short), model(long))
    assert model(torch.tensor([[0, 0]])).isfinite().all()


def test_audio_encoder_forgives_the_unit():
    torch.manual_seed(0)
    model, x = audio_encoder(3, channels=(4, 8)).train(), torch.randn(8, 1, 16, 16)
    torch.testing.assert_close(model(x), model(4.34 * x - 30), rtol=1e-3, atol=1e-3)
