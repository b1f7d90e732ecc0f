"""What is kept, and how the sets are composed."""
