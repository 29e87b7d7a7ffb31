from .exported import load_exported as load_exported
from .exported import predict as predict
from .folder import export_student as export_student
from .folder import verify_export as verify_export
from .onnx import export_onnx as export_onnx
