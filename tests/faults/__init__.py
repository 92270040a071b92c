"""Our promises broken on purpose: kills, full disks, two runs at once; `python -m tests.faults SEED COUNT`."""
