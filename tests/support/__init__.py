"""What tests share: real programs started and stopped, clients that break rules, a Gateway that tells what it got.

Nothing here knows a rule of extauthz and nothing asserts. Imported as `support.<file>`: pytest and mypy have
`tests` on their path.
"""
