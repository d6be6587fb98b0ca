"""From one night's features to a judged model: ranking sets, ranker, evaluation, decision, registry."""
