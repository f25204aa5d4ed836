#!/usr/bin/env python
"""DreamLayer's command line: `python manage.py help` lists what it can do."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dreamlayer_site.settings")
    if sys.argv[1:2] == ["serve"] and not {"--child", "--help", "-h"} & set(sys.argv):
        # The parent of `serve` only holds the socket and one child, so that nothing that paints can take it down.
        from dreamlayer_site.supervisor import supervise

        sys.exit(supervise(sys.argv[2:]))
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
