"""The stamp: its format, its keys, its signer and the JWKS. No gRPC and no decisions: import its modules by name."""
