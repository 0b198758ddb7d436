"""The embedded default: real PostgreSQL and Valkey from PyPI and all processes under one supervisor."""
