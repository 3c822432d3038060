"""Nets as ONNX files, which onnxruntime and many other programs run without anyfw (extra `onnx`).

    from anyfw.interop import onnx

    onnx.export(net, "model.onnx")
    onnx.export(net, "model.onnx", output="probability", loss=losses.CrossEntropyLoss())
    onnx.check("model.onnx", net)  # the largest difference, in onnxruntime

`LAYERS` tells how each layer is written: a layer of your own brings its own writer, a function of a few lines.
"""

from anyfw.interop.onnx.check import check
from anyfw.interop.onnx.export import export
from anyfw.interop.onnx.graph import Graph, Writer
from anyfw.interop.onnx.layers import LAYERS
from anyfw.interop.onnx.value import Value

__all__ = ["LAYERS", "Graph", "Value", "Writer", "check", "export"]
