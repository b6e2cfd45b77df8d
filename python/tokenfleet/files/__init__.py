"""Files as such: read with limits, written whole, and text that is safe to print."""
