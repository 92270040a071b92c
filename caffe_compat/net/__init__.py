"""The torch module, its parameters and its weights."""
