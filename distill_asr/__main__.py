"""`python -m distill_asr` is `distill-asr`."""

import sys

from distill_asr.cli import main

sys.exit(main())
