"""Relations between a subject and an object, and how they are put into words."""
