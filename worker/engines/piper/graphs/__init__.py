"""ONNX graphs of Piper: read, cut, rewritten."""
