"""What distillation gives each language: choice of its weight, table and picture."""
