"""Recognition with trained students."""
