"""What turns a night's features and a bundle into lists; shared by training and precompute."""
