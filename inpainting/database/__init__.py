"""Database techniques that several rooms share: leases of rows, and queries that are compiled to SQL once."""
