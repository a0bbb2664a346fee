#!/usr/bin/env bash
# Does a crowd at the edge cost the line anything? Gates a line with an edge and a thousand clients, of which a hundred never read and a
# hundred ask as fast as they are answered, against the same line without.
#
#   harness/edge/crowd.sh HOPLINE [GATES] [FOLDER]
#
# The line has one loop on a core of its own; the edge, its clients and everything else share what is left. Verdicts are printed one a
# gate, and what the clients saw, run by run, stays in FOLDER. Nothing else may run meanwhile.
set -euo pipefail

hopline=$(realpath "$1")
gates=${2:-5}
folder=${3:-$(mktemp -d)}
mkdir -p "$folder"
export CROWD_HOPLINE=$hopline CROWD_FOLDER=$folder CROWD_AT=127.0.0.1:26990

# Each run of the head is a process with an edge; the crowd comes during its warm-up and is sent home behind it.
cat >"$folder/head" <<'HEAD'
#!/usr/bin/env bash
case " $* " in
*" --one-run "*) ;;
*) exec "$CROWD_HOPLINE" "$@" ;;
esac
"$CROWD_HOPLINE" edge-load "http://$CROWD_AT/" --clients 1000 --via mix --connects 1000 --slow 100 --flood 100 \
    --for 60s --give-up 5s --json >"$(mktemp "$CROWD_FOLDER/load.XXXXXX")" 2>>"$CROWD_FOLDER/load.err" &
crowd=$!
"$CROWD_HOPLINE" "$@" --edge "$CROWD_AT"
status=$?
kill -TERM "$crowd"
wait "$crowd" 2>/dev/null
exit "$status"
HEAD
chmod +x "$folder/head"

failed=0
for nth in $(seq "$gates"); do
    status=0
    "$hopline" gate tick-to-trade --threads 1 --bin "$folder/head" --base "$hopline" --slower 10 \
        --warmup 5s --for 3s --json >"$folder/gate.$nth.json" 2>"$folder/gate.$nth.err" || status=$?
    echo "gate $nth: exit $status"
    if [ "$status" = 1 ]; then failed=1; fi
done
exit "$failed"
