"""Rendering: a view of the Mandelbrot set, one part a tile."""
