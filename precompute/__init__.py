"""From a night's features and a decision to a published release: lists, item-to-item, index, ledger."""

import lake  # noqa: F401  (asks for the BLAS kernel before a module here loads numpy)
