"""Kaldi-style data directories and the corpora that need no download."""
