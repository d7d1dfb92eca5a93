# shellcheck shell=bash
# Sourced by the tools: what more than one of them must agree on.
# The names set here are used by the sourcing scripts:
# shellcheck disable=SC2034

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)

# The PostgreSQL everything is built for and tested with, and where Debian keeps it.
pg_version=15
pg_bin=/usr/lib/postgresql/$pg_version/bin

die()
{
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# PostgreSQL refuses to run as root. `runas` holds the words that run a command as the user who
# may: none for a plain user; for root those that drop to `postgres`, or to `nobody`.
runas=()
if [ "$(id -u)" -eq 0 ]; then
	server_user=postgres
	getent passwd "$server_user" >/dev/null || server_user=nobody
	runas=(setpriv --reuid="$(id -u "$server_user")" --regid="$(id -g "$server_user")"
		--clear-groups --)
fi

# Gives a directory to the server's user; nobody but him and root can enter it. A cluster for
# tests trusts whoever reaches its socket, so on a shared machine the path is what guards it.
give_to_server()
{
	chmod 0700 "$1"
	[ ${#runas[@]} -eq 0 ] || chown "$server_user:" "$1"
}

# Prints a new temporary directory that the server's user owns and can reach, and whose path
# leaves room for a socket's name (107 bytes in all). The caller removes it.
make_server_dir()
{
	local parent dir
	for parent in "${TMPDIR:-/tmp}" /tmp; do
		dir=$(mktemp -d "$parent/holdfast.XXXXXX") || continue
		give_to_server "$dir"
		if [ ${#dir} -le 70 ] && "${runas[@]}" test -w "$dir"; then
			printf '%s\n' "$dir"
			return
		fi
		rmdir "$dir"
	done
	die "no temporary directory that the server's user can reach; set TMPDIR to one"
}
