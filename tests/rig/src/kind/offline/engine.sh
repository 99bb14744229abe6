# A Docker engine in mount, network and process namespaces of its own: it cannot touch the machine's network, and
# whatever way it ends, all that it started ends with it.
#
# usage: sh engine.sh DIR
#
# DIR/data holds the images and outlives the engine. DIR/init.pid is the process whose namespaces it has, while it
# runs. TERM ends it.

# Says whether a capability, by its number, is in the bounding set of this process.
may_have() {
    set -- "$1" "$(sed -n 's/^CapBnd:[[:space:]]*//p' /proc/self/status)"
    [ $((0x$2 >> $1 & 1)) = 1 ]
}

# Inside the namespaces: readies them and becomes the engine.
inside() {
    dir=$1 group=$2 here=$3
    ip link set lo up
    # Its sockets and state are seen by nobody else, and are gone with it.
    mount -t tmpfs tmpfs /run
    if [ ! -d /lib/modules ]; then
        # kind mounts it into every node. A machine without it gets one that is seen in here only.
        mkdir -p /run/lib/upper/modules /run/lib/work
        mount -t overlay overlay -o lowerdir=/lib,upperdir=/run/lib/upper,workdir=/run/lib/work /lib
    fi
    # Docker asks for every capability when a container is privileged, also for one that nobody can have here.
    cap_sys_resource=24
    may_have $cap_sys_resource || set -- "$@" --add-runtime "less=$here/runc-less" --default-runtime less
    shift 3
    exec dockerd --host tcp://127.0.0.1:2375 --tls=false --data-root "$dir/data" --exec-root /run/docker \
        --pidfile /run/docker.pid --cgroup-parent "/$group" --exec-opt native.cgroupdriver=cgroupfs \
        --shutdown-timeout 5 --log-level warn "$@"
}

if [ "$1" = inside ]; then
    shift
    inside "$@"
fi

dir=$1
here=$(cd "$(dirname "$0")" && pwd)
group=rig-$$
mkdir -p "$dir"
# Held by all that runs in here: one that is still ending has to be waited for.
exec 9>>"$dir/lock"
flock --timeout 30 9 || { echo "another engine still uses $dir"; exit 1; }

end() {
    trap '' TERM
    # In good order first, so that the images are whole.
    kill -TERM "$init"
    waited=0
    while kill -0 "$init" && [ "$waited" -lt 100 ]; do
        sleep 0.1
        waited=$((waited + 1))
    done
    kill -KILL "$init" "$unshare"
    wait "$unshare"
    rm -f "$dir/init.pid"
    # Systemd in a node has made cgroups below that of the engine, which are empty now. The last to end may still be ending.
    for try in 1 2 3 4 5; do
        for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/*; do
            [ ! -d "$hierarchy/$group" ] || find "$hierarchy/$group" -depth -type d -exec rmdir {} \;
        done
        ls -d /sys/fs/cgroup/"$group" /sys/fs/cgroup/*/"$group" || break
        sleep 0.2
    done
    exit 0
} >/dev/null 2>&1

# A session of its own, so that a signal for this group reaches no other process; the kernel ends it when the parent is killed.
setsid setpriv --pdeathsig KILL unshare --mount --net --pid --fork --kill-child --mount-proc \
    sh "$0" inside "$dir" "$group" "$here" &
unshare=$!
init=
trap end TERM
until init=$(cat "/proc/$unshare/task/$unshare/children") && [ -n "$init" ]; do
    kill -0 "$unshare" || exit 1
    sleep 0.05
done 2>/dev/null
init=${init% }
echo "$init" >"$dir/init.pid"
wait "$unshare"
code=$?
rm -f "$dir/init.pid"
exit "$code"
