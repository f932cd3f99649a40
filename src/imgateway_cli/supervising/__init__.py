"""`imgateway serve` with several workers: one process above them, and what each of them is."""
