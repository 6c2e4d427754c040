"""Do the links that people click lead where they say?"""
