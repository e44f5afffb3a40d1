"""The command line: one file a command, thin shells round the packages that do the work.

Data goes to standard output, messages and progress to standard error. Nothing heavy is imported
before a command runs, so that --help answers at once.
"""
