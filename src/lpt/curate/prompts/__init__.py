"""What the checks of `lpt verify` say, as text files; read by `lpt.synthesis.prompts.load`."""
