"""The report: README.md and index.html of reproductions/, generated from paper.csv, results/ and logs/."""
