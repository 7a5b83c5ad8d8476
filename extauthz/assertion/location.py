"""Which locations of keys are accepted: what the configuration asks before anything is fetched."""

from urllib.parse import urlsplit

from extauthz.assertion.rules import KID
from extauthz.gateway.keyset import JwksError
from extauthz.gateway.sources import open_source


def check_location(location: str) -> None:
    """Check where keys are to be fetched; nothing is fetched.

    Raises:
        ValueError: Whoever is on the way could choose the keys, or it is no location; the text says what is wanted.
    """
    if any(character.isspace() for character in location) and "://" in location:
        raise ValueError(f"{location!r} is no URL: there is white space in it")
    if KID in location:
        # Of a path it is a part, of a host never: the token would choose who is asked.
        if location.count(KID) > 1 or "://" not in location or KID not in urlsplit(location).path:
            raise ValueError(f"{location!r}: {KID} stands once, in the path of a URL")
        location = location.replace(KID, "kid")
    if "{" in location or "}" in location:
        raise ValueError(f"{location!r}: {KID} is the only name that can stand in braces")
    try:
        open_source(location)
    except JwksError as error:
        raise ValueError(str(error)) from None
