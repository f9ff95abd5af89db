"""From the tokens of a prompt to the contexts that the transformer reads."""
