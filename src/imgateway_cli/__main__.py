"""`python -m imgateway_cli`."""

from imgateway_cli.main import main

main()
