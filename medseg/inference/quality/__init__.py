"""Whether a person should look at a case."""
