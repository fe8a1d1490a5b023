"""The same jobs for Axonax and its peers: ``python -m peers NAME --job mlp`` in this folder's parent."""
