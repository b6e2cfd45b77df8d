"""Charts for engineers, made of what other rooms found: drawn by `--plot` into one SVG file."""
