"""`python -m truecaller_async.cli` is `truecaller`."""

from truecaller_async.cli import main

if __name__ == "__main__":
    main()
