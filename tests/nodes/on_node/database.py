"""Print the report of a database server as JSON. Runs on the node; standard library only.

database.py '{"used": whether an application uses the database, so that the program waits for its sessions}'
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

QUESTION = json.loads(sys.argv[1])
PATIENCE = float(QUESTION.get("patience", 1))  # factor for time limits on slow hosts
SESSIONS_S = 25 * PATIENCE if QUESTION["used"] else 0  # more than the period of beat
ROLES = """SELECT rolname AS name, rolsuper AS super, rolcreatedb AS creates_databases,
    rolcreaterole AS creates_roles, rolreplication AS replicates, rolcanlogin AS logs_in,
    left(rolpassword, 13) AS password
    FROM pg_authid WHERE rolname !~ '^pg_'"""
SETTINGS = """SELECT name, setting FROM pg_settings
    WHERE name IN ('ssl', 'password_encryption', 'ssl_min_protocol_version', 'listen_addresses')"""
SESSIONS = """SELECT coalesce(usename, '') AS user, datname AS database, ssl FROM pg_stat_ssl
    JOIN pg_stat_activity USING (pid) WHERE client_addr IS NOT NULL"""
RULES = """SELECT type, database, user_name AS users, address, auth_method AS method, error
    FROM pg_hba_file_rules"""
MEMBERSHIPS = """SELECT pg_get_userbyid(member) AS name, pg_get_userbyid(roleid) AS group
    FROM pg_auth_members WHERE pg_get_userbyid(member) !~ '^pg_'"""
DATABASES = (
    "SELECT datname AS name, pg_get_userbyid(datdba) AS owner FROM pg_database WHERE NOT datistemplate"
)
TABLES = "SELECT tablename AS name, tableowner AS owner FROM pg_tables WHERE schemaname = 'public'"


def query(statement: str, database: str = "postgres") -> list[dict[str, Any]]:
    """Rows of a statement, as the server's own user."""
    wrapped = f"SELECT coalesce(json_agg(r), '[]') FROM ({statement}) r"
    command = ["runuser", "-u", "postgres", "--", "psql", "-XAtq", "-d", database, "-c", wrapped]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=20 * PATIENCE, cwd="/")
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def sessions() -> list[dict[str, Any]]:
    """Sessions of other hosts; after a restart of the server, clients reconnect with their next work."""
    deadline = time.monotonic() + SESSIONS_S
    while True:
        found = query(SESSIONS)
        if found or time.monotonic() > deadline:
            return found
        time.sleep(0.5)


def main() -> None:
    """Print the report."""
    report = {
        "roles": query(ROLES),
        "settings": {row["name"]: row["setting"] for row in query(SETTINGS)},
        "sessions": sessions(),
        "rules": query(RULES),
        "memberships": query(MEMBERSHIPS),
        "databases": query(DATABASES),
        "tables": query(TABLES, "mosaic"),
    }
    print(json.dumps(report))


main()
