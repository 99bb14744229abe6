#!/bin/sh
# Puts together the whole file system of the operator's image: the program, the shared libraries that it names, the
# certificate authorities that it trusts, and the few files that a name resolver and a scanner read. No shell, no
# package manager.
#
# usage: sh rootfs.sh PROGRAM DIR
#
# Files are taken from the machine that this runs on, which has to be the one that the program was built on: it is
# then never without the C library that it was linked with.
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

# Users by number are enough for Kubernetes; these are for those who look.
echo 'nonroot:x:65532:65532:nonroot:/:/sbin/nologin' >"$root/etc/passwd"
echo 'nonroot:x:65532:' >"$root/etc/group"
# What the C library does by itself, said outright: /etc/hosts first, as kubelet writes it.
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"

# Scanners of images and makers of SBOMs tell by these files which packages of which Debian are in here.
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
