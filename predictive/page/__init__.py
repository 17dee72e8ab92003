"""The learner's page: what the predictions say, for people to read, made on the server without scripts."""
