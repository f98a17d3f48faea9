# The build scripts source this file. Nodes need this machine's settings for network access: proxy, index of Python
# packages, options of apt, local CAs.
host_apt_settings() {
  command -v apt-config >/dev/null 2>&1 || return 0
  apt-config dump | grep -E '^Acquire::([Hh]ttps?|[Ff]tp|Check-|Retries|ForceIPv|AllowInsecure)' || true
}

host_proxies() (
  # Without a proxy, no_proxy has no effect, and it would only make images of its own.
  [ -n "${http_proxy:-}${https_proxy:-}${HTTP_PROXY:-}${HTTPS_PROXY:-}" ] || unset no_proxy NO_PROXY
  for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST; do
    eval "value=\${$name:-}"
    case $value in *[[:space:]]*) value= ;; esac  # several indexes: an instruction of Docker cannot hold them
    [ -z "$value" ] || printf '%s=%s\n' "$name" "$value"
  done
)

host_cas() { find /usr/local/share/ca-certificates -name '*.crt' 2>/dev/null | LC_ALL=C sort; }

# packages FILE...: prints the names in these files, separated by commas.
packages() { sed 's/#.*//' "$@" | tr -s ' \n' ',,' | sed 's/^,//; s/,$//'; }

# run_to_its_end CONTAINER: starts it and waits; prints its last lines when it fails. The program docker of the snap can neither open
# a file in /tmp nor write to one that the shell opened, so files and output go through pipes, here and in the scripts.
run_to_its_end() {
  docker start "$1" >/dev/null
  [ "$(docker wait "$1")" = 0 ] || { docker logs --tail 5 "$1" 2>&1 | cat >&2; return 1; }
}
