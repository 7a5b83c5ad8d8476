"""Bytes to core values and back: Envoy's protobuf, forward-auth HTTP. Translates, never decides."""
