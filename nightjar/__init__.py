"""The night as plain functions, and the command that runs them."""
