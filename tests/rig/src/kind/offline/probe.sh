# Tries what an engine and its nodes do, in namespaces that are gone with it: not every machine lets root.
#
# usage: unshare --mount --net --pid --fork --mount-proc sh probe.sh
set -e
exec 2>&1
mount -t tmpfs tmpfs /run
mkdir /run/upper /run/work /run/over
mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/upper,workdir=/run/work /run/over
ip link set lo up
ip link add probe type bridge
ip link add probe-a type veth peer name probe-b
iptables -t nat -A POSTROUTING -s 192.0.2.0/24 -j MASQUERADE
# Of the machine, and not of a namespace: the memory hierarchy of version 1, or the only one of version 2.
groups=/sys/fs/cgroup
[ ! -d "$groups/memory" ] || groups=$groups/memory
rmdir "$(mktemp -d "$groups/rig-probe-XXXXXX")"
