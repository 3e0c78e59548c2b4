"""Running a study: its steps, their hashes and records, the schedule, and checks before and after.

Enters: a study. Leaves: executed notebooks that say truthfully how they ended, and their records.
Which step reads what: ``steps``. Why a step runs again: ``hashes``. Order: ``schedule``.
"""
