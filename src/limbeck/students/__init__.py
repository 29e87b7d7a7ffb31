"""How any model shows features and logits, and small reference encoders."""

from limbeck.students.encoders import small_conv_net
from limbeck.students.output import StudentOutput
from limbeck.students.student import Student, StudentShape

__all__ = ["Student", "StudentOutput", "StudentShape", "small_conv_net"]
