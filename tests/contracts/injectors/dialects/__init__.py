"""One file a posting kind of injector: what its receivers say."""
