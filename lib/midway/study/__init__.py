"""What a study asks for: parameters, task cards, and the files and errors that all rooms share.

Input: a params file (YAML) and changes to it. Output: a frozen ``Study``, a ``Card`` a task.
A new setting: ``params``. A new task of a known kind: ``cards.yaml``.
"""
