"""Whole layers as torch computes them, on our arrays: channels last, leaves by our names."""
