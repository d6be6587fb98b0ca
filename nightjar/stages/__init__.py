"""The stages of the night: what each plans, works on, checks and commits, and their order."""
