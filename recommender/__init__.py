"""What turns a night's features and a bundle into lists; shared by training and precompute."""

import lake  # noqa: F401  (asks for the BLAS kernel before a module here loads numpy)
