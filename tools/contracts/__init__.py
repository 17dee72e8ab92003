"""The published contracts (JSON Schemas, AsyncAPI, OpenAPI): written, and compared with releases."""
