"""From what people have (recordings, tables, data sets) to a recipe, and what it will cost."""
