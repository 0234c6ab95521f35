"""`python -m sciml.cli`."""

from sciml.cli import main

if __name__ == "__main__":
    main()
