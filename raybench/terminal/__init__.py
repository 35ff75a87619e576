"""What people see in a terminal: tables, and progress while a sweep runs."""
