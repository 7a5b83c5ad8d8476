"""`python -m extauthz.cli`: the same as the `extauthz` command."""

from extauthz.cli import main

main()
