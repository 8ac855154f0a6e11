"""Human recordings from Debian packages and a few other places: ``distill-asr corpus human``.

``packages`` fetches, ``sources`` finds clips, ``scan`` finds silent ones, ``sets`` divides.
"""
