# Creates a cluster with kind, keeps it until TERM, and deletes it then, also when it was not finished.
#
# usage: sh cluster.sh KIND NAME CREATED [ARG...]    (arguments of `kind create cluster`)
#
# The file CREATED appears when the cluster is up.
kind=$1 name=$2 created=$3
shift 3

delete() {
    trap '' TERM
    "$kind" delete cluster --name "$name"
    exit
}
trap delete TERM

"$kind" create cluster --name "$name" "$@" &
wait $! || {
    "$kind" delete cluster --name "$name"
    exit 1
}
: >"$created"
while :; do
    # Ended by the same TERM.
    sleep 3600 &
    wait $!
done
