"""Human recordings from Debian packages and a few other places: ``distill-asr corpus human``.

``packages`` fetches, ``sources`` finds clips, ``scan`` listens for silence, ``sets`` divides.
"""
