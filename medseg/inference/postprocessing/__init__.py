"""What is done to a label map."""
