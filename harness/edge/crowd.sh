#!/usr/bin/env bash
# Does a crowd at the edge cost the line anything? Gates a line with an edge and its clients against the same line without.
#
#   harness/edge/crowd.sh crowd|storm HOPLINE [GATES] [FOLDER] [CASE]
#
# crowd   a thousand clients, of which a hundred never read and a hundred ask as fast as they are answered; all are there before
#         anything is measured
# storm   five thousand that connect at once, and again when they are told to: they come in while it is measured
#
# The line has one loop on a core of its own; the edge, its clients and everything else share what is left. Verdicts are printed one a
# gate, and what the clients saw, run by run, stays in FOLDER. Ends 1 where one failed, 2 where fewer than four in five passed, and else
# 0. Nothing else may run meanwhile.
set -euo pipefail

case ${1:-} in
crowd)
    clients="--clients 1000 --connects 1000 --slow 100 --flood 100"
    warmup=1300ms
    ;;
storm)
    clients="--clients 5000 --connects 5000"
    warmup=300ms
    ;;
*)
    echo "crowd or storm?" >&2
    exit 64
    ;;
esac
hopline=$(realpath "${2:?which hopline?}")
gates=${3:-5}
folder=${4:-$(mktemp -d)}
case=${5:-diamond}
mkdir -p "$folder"
export CROWD_HOPLINE=$hopline CROWD_FOLDER=$folder CROWD_AT=127.0.0.1:26990 CROWD_CLIENTS=$clients

# Each run of the head is a process with an edge; the crowd comes as soon as it listens and is sent home behind it.
cat >"$folder/head" <<'HEAD'
#!/usr/bin/env bash
case " $* " in
*" --one-run "*) ;;
*) exec "$CROWD_HOPLINE" "$@" ;;
esac
# shellcheck disable=SC2086 # several words
"$CROWD_HOPLINE" edge-load "http://$CROWD_AT/" $CROWD_CLIENTS --via mix --for 60s --give-up 5s --json \
    >"$(mktemp "$CROWD_FOLDER/load.XXXXXX")" 2>>"$CROWD_FOLDER/load.err" &
crowd=$!
"$CROWD_HOPLINE" "$@" --edge "$CROWD_AT"
status=$?
kill -TERM "$crowd"
wait "$crowd" 2>/dev/null
exit "$status"
HEAD
chmod +x "$folder/head"

failed=0 passed=0
for nth in $(seq "$gates"); do
    status=0
    "$hopline" gate "$case" --threads 1 --bin "$folder/head" --base "$hopline" --slower 10 \
        --warmup "$warmup" --for 1s --json >"$folder/gate.$nth.json" 2>"$folder/gate.$nth.err" || status=$?
    echo "gate $nth: exit $status"
    case $status in
    0) passed=$((passed + 1)) ;;
    1) failed=1 ;;
    esac
done
if [ "$failed" = 1 ]; then exit 1; fi
if [ $((5 * passed)) -lt $((4 * gates)) ]; then exit 2; fi
