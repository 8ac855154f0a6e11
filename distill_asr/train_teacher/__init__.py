"""Training of small teachers: speech models with a CTC head, masked language models."""
