"""From a night's features and a decision to a published release: lists, item-to-item, index, ledger."""
