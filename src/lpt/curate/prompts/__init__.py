"""What the checks of `lpt verify` say, as text files; read by `lpt.synthesize.prompts.load`."""
