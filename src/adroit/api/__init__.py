"""The public functions, by subject. `import adroit` offers them all under one name."""
