"""What is wrong with a data set, before money is spent."""
