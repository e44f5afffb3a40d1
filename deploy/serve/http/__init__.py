"""HTTP: the connection, the routes of the protocol, and reading and writing its bodies."""
