"""The stored reference of a user's own network: captured as data, read back without running any code of the folder."""
