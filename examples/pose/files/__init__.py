"""Files that stay whole: atomic writes, locks, and outputs that never replace an input."""
