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
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
