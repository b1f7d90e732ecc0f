"""The method, in its order: ask, think, think harder."""
