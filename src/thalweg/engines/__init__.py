"""Engines: each turns a program of the tape into a step, from one op table of its own."""
