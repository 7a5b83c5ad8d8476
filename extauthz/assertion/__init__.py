"""The signed token that an identity-aware proxy sends beside its headers: presets, keys, and what verifies it."""
