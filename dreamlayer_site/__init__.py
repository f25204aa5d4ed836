"""The Django project: settings, URLs, servers. Only Django, Celery and `manage.py` import it."""
