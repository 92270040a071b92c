"""A Model's filters -> fewer basis filters."""
