"""Laws of the library as suites to inherit, and real images, for its own tests and for whoever extends it."""
