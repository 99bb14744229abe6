#!/bin/sh
# Assembles the whole file system of the operator's image: the program, the shared libraries it is linked with, the
# certificate authorities it trusts, and the few files that a name resolver and a scanner read. No shell, no package
# manager.
#
# usage: sh rootfs.sh PROGRAM DIR
#
# Run it on the machine that built the program: it copies files from there, so that the image has the C library that the
# program was linked with.
set -eu
program=$1 root=$2
umask 022

install -D -m 0755 "$program" "$root/usr/local/bin/s3-replication-operator"

libraries=$(ldd "$program" | grep -o '/[^ ]*')
for library in $libraries; do
    install -D -m 0755 "$library" "$root$library"
done

authorities=/etc/ssl/certs/ca-certificates.crt
install -D -m 0644 "$authorities" "$root$authorities"

# Kubernetes needs only the number of the user; tools that print users read these names.
echo 'nonroot:x:65532:65532:nonroot:/:/sbin/nologin' >"$root/etc/passwd"
echo 'nonroot:x:65532:' >"$root/etc/group"
# The default of the C library, written down: /etc/hosts first, which kubelet writes.
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"

# Image scanners and SBOM generators read from these files which Debian packages the image contains.
if command -v dpkg-query >/dev/null; then
    mkdir -p "$root/var/lib/dpkg/status.d"
    for library in $libraries; do
        real=$(readlink -f "$library")
        # Where / and /usr are one directory, a package may know its file by either name.
        dpkg-query --search "$library" "$real" "${real#/usr}" 2>/dev/null || true
    done | sed 's/[:,].*//' | sort -u | while read -r package; do
        dpkg-query --status "$package" >"$root/var/lib/dpkg/status.d/$package"
    done
    dpkg-query --status ca-certificates >"$root/var/lib/dpkg/status.d/ca-certificates" 2>/dev/null ||
        rm -f "$root/var/lib/dpkg/status.d/ca-certificates"
    install -D -m 0644 /etc/os-release "$root/etc/os-release"
fi
