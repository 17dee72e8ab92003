"""The published contracts: JSON Schemas, AsyncAPI and OpenAPI, made from the code and held to releases."""
