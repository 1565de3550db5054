# keep.sh DIR PROGRAM ARGS…: runs PROGRAM until it ends or stdin does; at the end of stdin kills it and removes DIR.
# The test holds the other end of stdin, so nothing that it started outlives it, however it ends.
dir=$1
shift
exec 3<&0 </dev/null
"$@" 3<&- &
program=$!
{
    cat
    kill -9 "$program"
    rm -rf "$dir"
} <&3 >/dev/null 2>&1 &
exec 3<&-
wait "$program"
