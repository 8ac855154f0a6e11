"""Accidents on purpose: kills, full disks, races, jumping clocks and damaged files, by a seed."""
