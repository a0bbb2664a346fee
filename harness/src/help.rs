//! What the command line says below the flags of a command: examples, and what to know before.
//!
//! Invariant: words only.

pub(crate) const EXAMPLES: &str = "\
Examples:
  hopline                                     tick-to-trade on a feed made up
  hopline run tick-to-trade --input btc=btc.gz --input eth=eth.gz --speed 100x
  hopline run my-case --for 30s --json > report.json
  hopline check my-case                       all that is wrong with it
  hopline gate my-case --out verdicts         do its budgets hold?
  hopline plan tick-to-trade --threads 2      threads, cores and bytes
  hopline floor                               what this machine can do
  hopline report gate/gate.json --out again   a gate's page and logs, made again

Exit codes:
  0 good   3 loss or a broken invariant   64 usage or config   70 a defect
  74 file, socket, disk or reader of the output
  130, 143 ended by a signal: the second one for run, which drains at the first;
  the first for all others";

pub(crate) const RUN_EXAMPLES: &str = "\
Examples:
  hopline run tick-to-trade
  hopline run tick-to-trade --input btc=btc.gz --input eth=eth.gz --speed 100x --sink-log out.ndjson
  hopline run tick-to-trade --input btc=btc.gz --input eth=eth.gz --hop 'btc->book:depth=1024,when_full=drop_newest'
  hopline run tick-to-trade --for 5s --record 'btc->book=btc.cap'
  hopline run udp-echo --via udp --for 30s
  hopline run udp-echo --rate 20k --shape bursts=100/1ms --seed 7
  hopline run ./my-case --live
  hopline run tick-to-trade --virtual --for 1s --json

The first Ctrl-C (or SIGTERM) stops the sources, lets what is queued finish and prints the report; \
a second one ends at once.";

pub(crate) const BENCH_HELP: &str = "\
Examples:
  hopline bench tick-to-trade                    what every span takes
  hopline bench tick-to-trade --find-capacity    the rate it can take: a minute

A search judges each rate as a gate does, by three runs or more of 1s each. It \
ends 0 with a capacity; without one as its lowest rate: 1 FAIL, 2 INCONCLUSIVE, 3 loss. A signal ends it, and what was \
measured by then is written.";

pub(crate) const GATE_HELP: &str = "\
Examples:
  hopline gate tick-to-trade --out verdicts    by its budgets: page, JUnit
  hopline gate my-case --bin ./mine            with the stages of your program
  hopline gate my-case --base ./hopline-main   slower than that binary?
  hopline gate my-case --base-rev main         slower than what `main` builds?

A budget holds if the share of frames over it is small enough, by exact counts and with 95 % confidence. Frames that the \
host touched, by a gap or since a neighbour slowed their core, are told from the others: PASS is by all frames, PASS_CLEAN \
by the untouched ones. Nothing else should run meanwhile; what runs all the same makes verdicts INCONCLUSIVE sooner than wrong.

A base of a revision is built by cargo in a git worktree of its own, in the profile of the program that is judged, before \
anything is measured; other flags must come by cargo's configuration or environment, for both alike.

Exit codes:
  0 PASS or PASS_CLEAN   1 FAIL   2 INCONCLUSIVE   3 loss
  130, 143 ended by a signal, with partial outputs";

pub(crate) const FLOOR_HELP: &str = "\
Clock, gaps, rings, sleep and wake, the turn of a loop, round trips over loopback. It keeps two cores \
busy for some 20 seconds: nothing else should run. Where something does, it does fewer rounds and says which; \
it takes 50 seconds at the most. Ctrl-C ends it at once, without a report (130 to the shell).";

pub(crate) const REPORT_HELP: &str = "\
Examples:
  hopline report gate/gate.json --out again      every output, made again
  hopline report mon/gate.json tue/gate.json     clean quantiles side by side
  hopline report mon.json tue.json               likewise of what `bench --json` printed

It judges nothing: the exit code says whether it could be shown, not what the gate found.";
