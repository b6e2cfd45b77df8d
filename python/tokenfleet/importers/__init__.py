"""Outside formats, one module each: Hugging Face configs, request traces, length distributions."""
