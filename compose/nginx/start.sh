#!/bin/sh
# Starts nginx with the resolver that this container was given (Docker's and Podman's differ), so that the names of
# containers are looked up as they are asked for: one that starts anew may have another address, and nginx starts without it.
set -eu
nameserver=$(awk '$1 == "nameserver" { print $2; exit }' /etc/resolv.conf)
case $nameserver in *:*) nameserver="[$nameserver]" ;; esac
printf 'resolver %s valid=2s ipv6=off;\n' "$nameserver" > /tmp/resolver.conf
printf 'location /%s/ { include /etc/nginx/objects.conf; }\n' "$STENTOR_S3_BUCKET" > /tmp/bucket.conf
# What compose.cluster.yaml adds stands outside of http {}.
: > /tmp/cluster.conf
[ -z "${STENTOR_CLUSTER:-}" ] || echo 'include /etc/nginx/cluster.conf;' > /tmp/cluster.conf
exec nginx -c /etc/nginx/nginx.conf -g 'daemon off;'
