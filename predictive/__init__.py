"""The public face: predictors with the specification's signatures, the HTTP API, subscription, publishers' client."""
