#!/bin/sh
# Makes tls/cluster_ca.pem, and a certificate signed by it for the first host: make_cluster_tls.sh NAME [ADDRESS]
set -eu
name=${1:?the name by which the other hosts reach this one}
address=${2:-}
cd "$(dirname "$0")"
umask 077
mkdir -p tls
# Files of an earlier run are read-only. They are written in place, because nginx has mounted them.
for made in tls/cluster.pem tls/cluster.key; do [ ! -f "$made" ] || chmod u+w "$made"; done
[ -f tls/cluster_ca.key ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 \
    -keyout tls/cluster_ca.key -out tls/cluster_ca.pem -subj "/CN=Stentor cluster" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign
openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout tls/cluster.key -out tls/cluster.csr -subj "/CN=$name"
printf 'subjectAltName=DNS:%s%s\nextendedKeyUsage=serverAuth\n' "$name" "${address:+,IP:$address}" > tls/cluster.ext
openssl x509 -req -in tls/cluster.csr -CA tls/cluster_ca.pem -CAkey tls/cluster_ca.key -CAcreateserial -days 825 \
    -extfile tls/cluster.ext -out tls/cluster.pem
rm tls/cluster.csr tls/cluster.ext
# nginx reads them with the group 1001. Without root, the folder's mode keeps other users out.
if [ "$(id -u)" = 0 ]; then chown 1001:1001 tls/cluster.pem tls/cluster.key && chmod 0440 tls/cluster.pem tls/cluster.key
else chmod 0444 tls/cluster.pem tls/cluster.key; fi
chmod 0444 tls/cluster_ca.pem
