"""Laws of the library as suites to inherit, for its own tests and for whoever extends it."""
