"""The public face: predictors with the specification's signatures, HTTP API, subscription, client."""
