"""What pages, command line and notebooks ask of a snapshot. Pure: a snapshot in, a small frame out."""
