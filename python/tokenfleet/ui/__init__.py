"""The local page: edit a scenario in a browser, solve it, compare plans, download what came out.

Everything stays on this machine: the page listens on 127.0.0.1 only, and solves in a child process.
"""
