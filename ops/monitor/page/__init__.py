"""The on-call page: a look and its past as HTML, made here and readable without any script."""
