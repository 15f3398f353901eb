#!/bin/sh
# Starts nginx with the resolver of this container (Docker and Podman use different ones). So nginx looks container names
# up for each request: a restarted container can have another address, and nginx can start before the others.
set -eu
nameserver=$(awk '$1 == "nameserver" { print $2; exit }' /etc/resolv.conf)
case $nameserver in *:*) nameserver="[$nameserver]" ;; esac
printf 'resolver %s valid=2s ipv6=off;\n' "$nameserver" > /tmp/resolver.conf
printf 'location /%s/ { include /etc/nginx/objects.conf; }\n' "$STENTOR_S3_BUCKET" > /tmp/bucket.conf
# compose.cluster.yaml adds this, outside of http {}.
: > /tmp/cluster.conf
[ -z "${STENTOR_CLUSTER:-}" ] || echo 'include /etc/nginx/cluster.conf;' > /tmp/cluster.conf
exec nginx -c /etc/nginx/nginx.conf -g 'daemon off;'
