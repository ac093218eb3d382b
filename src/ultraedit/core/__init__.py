"""What everything else stands on: types, errors, files, linear algebra, token encoding."""
