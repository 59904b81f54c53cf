"""Many cases into one folder, by one process or by many."""
