"""train_teacher."""
