"""What each verb of the command line does; the only place below ``cli`` that prints."""
