"""A small OpenAI-compatible server over responders, shared by `lpt sim` and `lpt serve`."""
