"""Programs to run and to read: they use the library as its users do."""
