"""Laws of the library as test suites to inherit, for its own tests and for extensions."""
