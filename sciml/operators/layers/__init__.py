"""Parts of operators that more than one of them uses."""
