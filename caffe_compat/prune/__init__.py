"""Criteria that need no training, the narrowing of nets, and what proves a narrower net right."""
