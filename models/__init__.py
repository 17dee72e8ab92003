"""Pure models: events, learner and skill rows, predictions. No clock, no I/O."""
