"""Students for deployment: no trace of distillation."""
