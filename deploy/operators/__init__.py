"""What each operator of the domain `adroit` is, for Python."""
