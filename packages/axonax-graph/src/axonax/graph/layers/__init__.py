"""The builders of layers, a module a family; each is known by its ``op``."""
