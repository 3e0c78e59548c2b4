"""Notebook 05: figures and the HTML report with its notebooks as pages.

Enters: records and tables. Leaves: figures (matplotlib) and self-contained pages.
All figures: ``figures``. The report's tables: ``collect`` and ``index.html.j2``.
"""
