"""Wiring. Nothing imports it but Django, Celery and `manage.py`."""
