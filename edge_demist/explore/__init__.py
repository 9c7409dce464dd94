"""Looking at embeddings: places on the world map, search, clusters, and the page that shows them.

Works on arrays and files of vectors; makes no vectors itself (that is the model's work) and imports nothing that does.
"""
