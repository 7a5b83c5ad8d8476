"""The probe: a live deployment tested from the client's side. It asks, compares and tells; it decides about nobody."""
