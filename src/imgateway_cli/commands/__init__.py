"""One module for each command; `main` collects them."""
