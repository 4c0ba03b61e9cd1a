"""Judging outside of the sandbox: expected outputs, comparison, and the talk with the candidate's process."""
