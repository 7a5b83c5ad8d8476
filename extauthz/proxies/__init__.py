"""Writers of configurations for the proxies that ask extauthz. Text from settings; nothing is read, run or decided."""
