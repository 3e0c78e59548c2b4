"""Notebook 05: figures and the HTML report with its notebooks as pages.

Input: records and tables. Output: figures (matplotlib) and self-contained pages.
All figures: ``figures``. The report's tables: ``collect`` and ``index.html.j2``.
"""
