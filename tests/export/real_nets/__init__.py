"""How many nets of public repositories leave as ONNX and as programs of torch.export, and why the others do not."""
