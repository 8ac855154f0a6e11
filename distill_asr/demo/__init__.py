"""A page on this machine alone where one speaks and several students recognise side by side."""
