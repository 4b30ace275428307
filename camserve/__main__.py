"""`python -m camserve` is the `camserve` command."""

from camserve.cli import main

main(prog_name="camserve")
