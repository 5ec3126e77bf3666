"""Workflow source: shown with marks, and edited in forms."""
