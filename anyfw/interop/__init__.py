"""Where anyfw meets other tools, one module each: `sklearn`, `onnx`, `torch`, `trackers`; none is imported unasked."""
