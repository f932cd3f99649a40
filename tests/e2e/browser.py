"""What all tests in a real browser share."""

from playwright.sync_api import expect

CHROMIUM = "/usr/bin/chromium"
PATIENCE_SECONDS = 45  # more than the 30 s that the page may wait before it tries again

# There is one value for all: whoever sets another one sets it for every file that is run by the same process.
expect.set_options(timeout=PATIENCE_SECONDS * 1000)
