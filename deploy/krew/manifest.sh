#!/bin/sh
# Prints the manifest with which krew installs the plugin, for the archives of a release.
#
#   manifest.sh REPOSITORY VERSION DIRECTORY     for example: https://github.com/OWNER/NAME 0.2.0 dist
set -eu
repository=$1 version=$2 directory=$3
here=$(cd "$(dirname "$0")" && pwd)
set -- -e "s|@REPOSITORY@|$repository|g" -e "s|@VERSION@|$version|g"
for platform in linux_amd64 linux_arm64 darwin_arm64; do
  archive=$directory/kubectl-s3replication_v${version}_${platform}.tar.gz
  if command -v sha256sum >/dev/null; then sum=$(sha256sum "$archive"); else sum=$(shasum -a 256 "$archive"); fi
  set -- "$@" -e "s|@SHA256_${platform}@|${sum%% *}|g"
done
sed "$@" "$here/s3replication.yaml.in"
