"""`extauthz config`: about the configuration file itself."""

import json

import click


@click.group("config")
def command() -> None:
    """About the configuration file."""


@command.command("schema")
def schema() -> None:
    """Print the JSON Schema of the configuration file.

    Editors complete and check the file with it. For editors that speak the YAML language server, put this at the
    head of the file: # yaml-language-server: $schema=extauthz.schema.json
    """
    from extauthz.config.schema import Settings  # noqa: PLC0415 - help must be quick

    found = Settings.model_json_schema(by_alias=True)
    found = {"$schema": "https://json-schema.org/draft/2020-12/schema", **found, "title": "extauthz"}
    click.echo(json.dumps(found, indent=2))
