"""From one night's features to a judged model: ranking sets, ranker, evaluation, decision, registry."""

import lake  # noqa: F401  (asks for the BLAS kernel before a module here loads numpy)
