"""Pooltable: who signed up and never reached your database, why, and one click to put it right."""
