"""motionseek: the search engine for motion."""
