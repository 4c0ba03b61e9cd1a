"""The trusted code that runs inside the sandbox, around the candidate. Standard library only."""
