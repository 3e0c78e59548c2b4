"""Running a study: its steps, their hashes and records, the schedule, and checks before and after.

Input: a study. Output: executed notebooks that record how they ended, and records of the steps.
Which step reads what: ``steps``. Why a step runs again: ``hashes``. Order: ``schedule``.
"""
