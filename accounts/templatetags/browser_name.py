"""`{{ user_agent|browser_name }}`: the browser and the system that a User-Agent header names."""

from __future__ import annotations

from django import template
from django.utils.translation import gettext

register = template.Library()

BROWSERS = (
    *(("Edg", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("FxiOS/", "Firefox"), ("CriOS/", "Chrome")),
    *(("Chrome/", "Chrome"), ("Safari/", "Safari")),
)
SYSTEMS = (
    *(("iPhone", "iPhone"), ("iPad", "iPad"), ("Android", "Android"), ("Windows", "Windows"), ("Mac OS X", "macOS")),
    *(("CrOS", "ChromeOS"), ("Linux", "Linux")),
)
"""Parts of the header and names. The first that occurs counts: headers of Edge contain Chrome/ and Safari/ too."""
LONGEST = 60


@register.filter
def browser_name(user_agent: str) -> str:
    """Return “Firefox on Linux”, or the beginning of a header that names none of the browsers."""
    browser = next((name for part, name in BROWSERS if part in user_agent), "")
    system = next((name for part, name in SYSTEMS if part in user_agent), "")
    if not browser:
        return user_agent[:LONGEST] or gettext("Unknown")
    return gettext("{browser} on {system}").format(browser=browser, system=system) if system else browser
