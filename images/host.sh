# The build scripts source this file. Nodes need this machine's settings for network access: proxy, index of Python
# packages, options of apt, local CAs.
host_apt_settings() {
  command -v apt-config >/dev/null 2>&1 || return 0
  apt-config dump | grep -E '^Acquire::([Hh]ttps?|[Ff]tp|Check-|Retries|ForceIPv|AllowInsecure)' || true
}

host_proxies() {
  for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST; do
    eval "value=\${$name:-}"
    case $value in *[[:space:]]*) value= ;; esac  # several indexes: an instruction of Docker cannot hold them
    [ -z "$value" ] || printf '%s=%s\n' "$name" "$value"
  done
}

host_cas() { find /usr/local/share/ca-certificates -name '*.crt' 2>/dev/null | LC_ALL=C sort; }

# packages FILE...: prints the names in these files, separated by commas.
packages() { sed 's/#.*//' "$@" | tr -s ' \n' ',,' | sed 's/^,//; s/,$//'; }
