"""ESPnet models that also return their taps."""
