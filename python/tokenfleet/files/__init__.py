"""This room treats files as such: it reads them with limits and writes them whole.

`read` refuses what is too large, too deep or ambiguous; `whole` writes to a temporary file first,
so that a reader sees the old file or the new one and nothing in between; `plain` makes text from
outside safe to print. It knows nothing of what the files mean.
"""
