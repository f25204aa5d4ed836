"""The adapter of allauth's list of sessions."""

from __future__ import annotations

from collections.abc import Iterable

from allauth.usersessions.adapter import DefaultUserSessionsAdapter
from allauth.usersessions.models import UserSession

from accounts.socket_revocation import close_sockets, session_group


class UserSessionsAdapter(DefaultUserSessionsAdapter):  # type: ignore[misc]  # allauth ships no types
    def end_sessions(self, sessions: Iterable[UserSession]) -> None:
        """End the sessions and close their websockets."""
        for session in sessions:
            close_sockets(session_group(session.session_key))
            session.end()
