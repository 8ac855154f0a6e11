"""distill_asr: what large frozen teachers know, put into small ESPnet recognisers."""

__version__ = "0.1.0"
