"""The suite at the lowest and at the newest versions that setup.cfg allows; outside the quick suite."""
