"""`python -m adroit` is the command `adroit`."""

from adroit.deploy.cli.main import main

if __name__ == "__main__":
    main()
