"""Moderation: the regions that the safety checker sees, the policy for requests, and the hiding of flagged results."""
