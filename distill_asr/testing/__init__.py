"""Small teachers, data dirs, targets and students for tests of your own methods; no network."""
