"""The site: its blocks run, its tables are generated, its links lead somewhere."""
