#!/bin/sh
# Packs the program as a plugin of kubectl for one platform.
#
#   archive.sh PROGRAM VERSION PLATFORM DIRECTORY     for example: target/release/s3-replication-operator 0.2.0 linux_amd64 dist
set -eu
program=$1 version=$2 platform=$3 directory=$4
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$program" "$work/kubectl-s3replication"
chmod 755 "$work/kubectl-s3replication"
cp "$root/LICENSE" "$work/LICENSE"
mkdir -p "$directory"
tar -czf "$directory/kubectl-s3replication_v${version}_${platform}.tar.gz" -C "$work" kubectl-s3replication LICENSE
