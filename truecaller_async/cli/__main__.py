"""Run `truecaller` as `python -m truecaller_async.cli`."""

from truecaller_async.cli import main

if __name__ == "__main__":
    main()
