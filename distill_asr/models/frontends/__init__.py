"""Features an exported student can compute again outside ESPnet."""
