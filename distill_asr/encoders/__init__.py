"""Encoders that ESPnet lacks."""
