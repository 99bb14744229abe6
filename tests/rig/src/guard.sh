# Runs one program so that it cannot outlive the process that started this
# script, however that process ends.
#
# usage: sh guard.sh DATA_DIR LOG GRACE PROGRAM [ARG...]
#
# Standard input is a pipe whose other end the parent holds. Each line on it is
# the name of a signal for the program; the end of it (the parent is gone, or
# asks for the end) means: TERM, after GRACE seconds KILL, and remove DATA_DIR.
# The first line that the script prints is the program's process id. It ends with the program's exit code.
data=$1 log=$2 grace=$3
shift 3
exec 3<&0 </dev/null 2>/dev/null

"$@" >>"$log" 2>&1 3<&- &
child=$!
# From here on, signals to the whole group are for the program and its children.
trap '' TERM INT HUP
echo "$child"
exec >/dev/null

(
    while read -r signal <&3; do
        kill -"$signal" "$child"
    done
    kill -TERM 0
    waited=0
    while kill -0 "$child" && [ "$waited" -lt "$((grace * 10))" ]; do
        sleep 0.1
        waited=$((waited + 1))
    done
    kill -KILL "$child"
) &
watcher=$!
exec 3<&-

wait "$child"
code=$?
# TERM is ignored there too, so the watcher has to be killed.
kill -KILL "$watcher"
[ -z "$data" ] || rm -rf "$data"
exit "$code"
