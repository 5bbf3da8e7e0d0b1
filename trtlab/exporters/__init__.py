"""A run as text that makes it again elsewhere: a Python cell, a line of trtexec."""
