"""The config file: read strictly, judged as a whole, told with every mistake at its place."""
