"""Grids of systems (``conf/systems.yaml`` of a recipe), and the jobs that fill their table."""
