"""Error rates, their intervals, and the tables that show them."""
