"""The pages in a real browser, Debian's chromium: asked for with `-m browser`."""
