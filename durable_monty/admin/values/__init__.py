"""Values of a function: its signature, and form fields for its result."""
