"""How any model shows features and logits, and small reference encoders."""

from limbeck.students.encoders import (
    audio_encoder,
    image_encoder,
    small_conv_net,
    table_encoder,
    text_encoder,
)
from limbeck.students.output import StudentOutput
from limbeck.students.specs import ENCODERS, model_from_spec, student_from_spec
from limbeck.students.student import Student, StudentShape

__all__ = [
    "ENCODERS",
    "Student",
    "StudentOutput",
    "StudentShape",
    "audio_encoder",
    "image_encoder",
    "model_from_spec",
    "small_conv_net",
    "student_from_spec",
    "table_encoder",
    "text_encoder",
]
