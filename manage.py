#!/usr/bin/env python
"""DreamLayer's command line: `python manage.py help` lists the commands."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dreamlayer_site.settings")
    if sys.argv[1:2] == ["serve"] and not {"--help", "-h"} & set(sys.argv):
        from dreamlayer_site.server import supervisor

        if "--child" not in sys.argv:
            # The parent only holds the socket and restarts its child, so no error while generating can end it.
            sys.exit(supervisor.supervise(sys.argv[2:]))
        supervisor.stop_with_parent(sys.argv[2:])
    from django.conf import settings
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        if settings.configured:
            raise
        # An environment variable is wrong, so a new child of `serve` would fail in the same way.
        from dreamlayer_site.server.supervisor import INVALID_SETTINGS

        print(error, file=sys.stderr)
        sys.exit(INVALID_SETTINGS)


if __name__ == "__main__":
    main()
