"""The HTTP service (extra ``serve``): the routes that clients of embedding services speak, over one model."""
