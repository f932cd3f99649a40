"""The command line: thin commands over the library. `wiring` is the only place that chooses adapters."""
