"""Models made of models: other layers, parts, hooks, precision, and the state carried along."""
