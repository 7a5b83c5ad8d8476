"""The servers. Each is a thin shell around one function of the authorizer; none of them decides."""
