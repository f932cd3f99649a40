"""`python -m imgateway_im_logic`."""

from imgateway_im_logic.program import main

if __name__ == "__main__":
    main()
