"""One folder per backend, named as in ANYFW_BACKEND; nobody outside it imports its array library by name."""
