"""Students and their parts: models, encoders, front-ends, continuous integrate-and-fire."""

from distill_asr.models.espnet_imports import spare_type_checks

spare_type_checks()  # before the first import of ESPnet
