//! Every metric there is: name, kind, unit, labels, one sentence.
//!
//! Names follow the rules of Prometheus: the project first, then what it is of, the unit last, in base units (seconds, bytes);
//! counters end with `_total`, which is part of the sample's name and not of the family's. What a process is asked by every
//! exporter has the name that they all use (`process_…`).
//!
//! To add a metric: a row here, its samples in `line`, `source`, `files` or `machine`, and a row in `docs/METRICS.md`. What a stage
//! counts of its own needs neither: it is in the stage's own list ([`Stage::COUNTS`](crate::stage::Stage::COUNTS)).
//!
//! Invariant: a family's name ends with its unit, and no two have the same.

/// What kind of values a family has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only rises, from 0 at the start of the run.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Counts by bucket.
    Histogram,
    /// Values at quantiles.
    Summary,
}

impl Kind {
    /// The word of both formats.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Summary => "summary",
        }
    }
}

/// A metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// Its name, without the `_total` of a counter.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its unit; empty for flags and bare counts, such as turns, whose name says what is counted.
    pub unit: &'static str,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it means.
    pub help: &'static str,
}

impl Family {
    /// The name as queries write it.
    #[must_use]
    pub fn shown(&self) -> String {
        match self.kind {
            Kind::Counter => format!("{}_total", self.name),
            _ => self.name.to_owned(),
        }
    }
}

macro_rules! families {
    ($($id:ident = $kind:ident $name:literal [$($label:literal),*] $unit:literal $help:literal;)+) => {
        /// A family, by its place in [`FAMILIES`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Id { $($id),+ }

        /// All metrics, in the order of a page.
        pub const FAMILIES: &[Family] = &[$(Family {
            name: $name,
            kind: Kind::$kind,
            unit: $unit,
            labels: &[$($label),*],
            help: $help,
        }),+];
    };
}

families! {
    LineInfo = Gauge "hopline_line_info" ["line", "mode", "clock", "version"] ""
        "Always 1; its labels say what runs.";
    LineElapsed = Gauge "hopline_line_elapsed_seconds" [] "seconds"
        "Time since the line's start, on its own clock.";
    LineLive = Gauge "hopline_line_live" [] ""
        "1 where every loop makes turns and no node has failed.";
    LineDraining = Gauge "hopline_line_draining" [] ""
        "1 from the beginning of the drain on.";
    LineDrained = Gauge "hopline_line_drained" [] ""
        "1 once the line has ended and these are its last counts.";
    LineDrain = Gauge "hopline_line_drain_seconds" [] "seconds"
        "How long the drain took; 0 before its end.";
    LineLeft = Gauge "hopline_line_drain_left_messages" [] "messages"
        "Messages that a drain found at its deadline, and gave up.";
    LinePlanned = Gauge "hopline_line_planned_bytes" [] "bytes"
        "Memory that the plan says the line takes.";
    LineFaults = Gauge "hopline_line_faults" [] ""
        "What has gone wrong with nodes so far.";
    LedgerBreaches = Gauge "hopline_ledger_breaches" [] ""
        "Equations of the ledger that do not hold; what only the end can tell is checked at the end.";
    LedgerLosses = Gauge "hopline_ledger_losses" [] ""
        "Hops that lost messages although their budget allows no loss.";
    Complaints = Counter "hopline_complaints" ["kind"] ""
        "What loops have complained of, told or kept back.";
    Jitter = Gauge "hopline_line_jitter_seconds" [] "seconds"
        "p99 less p50 from end to end, over the sinks that count.";
    LineBudget = Gauge "hopline_line_budget_seconds" ["limit"] "seconds"
        "What the line owes from end to end.";
    LineOver = Counter "hopline_line_over_budget_messages" ["limit"] "messages"
        "Messages over the end-to-end limit of that quantile: exact, raw, unjudged.";
    OriginSaturated = Counter "hopline_line_origin_saturated_messages" [] "messages"
        "Messages older than an envelope can say (4.29 s); their spans are cut there.";
    EndToEnd = Histogram "hopline_end_to_end_seconds" ["sink"] "seconds"
        "From the intended time of a message to the end of its sink's handler.";
    EndToEndQuantiles = Summary "hopline_end_to_end_quantiles_seconds" ["sink"] "seconds"
        "The same by quantile, to 1 %.";

    HopSlots = Gauge "hopline_hop_slots" ["hop"] ""
        "Slots of the hop's ring.";
    HopOffered = Counter "hopline_hop_offered_messages" ["hop"] "messages"
        "Messages that the producer wanted to put on the hop: accepted, shed and waiting together.";
    HopAccepted = Counter "hopline_hop_accepted_messages" ["hop"] "messages"
        "Messages that got on the ring: delivered, in flight and discarded together.";
    HopShed = Counter "hopline_hop_shed_messages" ["hop", "reason"] "messages"
        "Messages that did not get on the ring.";
    HopWaiting = Gauge "hopline_hop_waiting_messages" ["hop"] "messages"
        "Messages that wait at the producer for room.";
    HopDelivered = Counter "hopline_hop_delivered_messages" ["hop"] "messages"
        "Messages that the consumer disposed of.";
    HopInFlight = Gauge "hopline_hop_in_flight_messages" ["hop"] "messages"
        "Messages that the consumer is not done with.";
    HopDiscarded = Counter "hopline_hop_discarded_messages" ["hop", "reason"] "messages"
        "Accepted messages that will never be delivered.";
    HopShedByKind = Counter "hopline_hop_shed_by_kind_messages" ["hop", "kind", "reason"] "messages"
        "The same as shed by kind of message; a kind appears with its first one.";
    HopDiscardedByKind = Counter "hopline_hop_discarded_by_kind_messages" ["hop", "kind", "reason"] "messages"
        "The same as discarded by kind of message; a kind appears with its first one.";
    HopBacklog = Gauge "hopline_hop_backlog_frames" ["hop"] "frames"
        "Frames that the consumer is not done with.";
    HopBacklogPeak = Gauge "hopline_hop_backlog_peak_frames" ["hop"] "frames"
        "Most frames that waited at once since the last page.";
    HopBacklogMax = Gauge "hopline_hop_backlog_max_frames" ["hop"] "frames"
        "Most frames that waited at once in the run.";
    HopAge = Gauge "hopline_hop_oldest_age_seconds" ["hop"] "seconds"
        "Age of the oldest message that the consumer is not done with.";
    HopAgePeak = Gauge "hopline_hop_oldest_age_peak_seconds" ["hop"] "seconds"
        "The highest such age since the last page.";
    HopFull = Counter "hopline_hop_full_seconds" ["hop"] "seconds"
        "Time at full because of this hop's consumer.";
    HopWakes = Counter "hopline_hop_wakes" ["hop"] ""
        "System calls by which the producer woke a consumer that slept.";
    HopClosed = Gauge "hopline_hop_closed" ["hop"] ""
        "1 once the consumer takes nothing more.";
    HopRung = Gauge "hopline_hop_rung" ["hop", "rung"] ""
        "1 for the rung of the degrade ladder that the hop is on.";
    HopRungEntries = Counter "hopline_hop_rung_entries" ["hop", "rung"] ""
        "How often the hop came to that rung, on the way up or down.";
    HopRungTime = Counter "hopline_hop_rung_seconds" ["hop", "rung"] "seconds"
        "Time on that rung since the first change.";
    HopBudget = Gauge "hopline_hop_budget_seconds" ["hop", "of", "limit"] "seconds"
        "What the hop owes.";
    HopOver = Counter "hopline_hop_over_budget_messages" ["hop", "limit"] "messages"
        "Messages over the hop's limit of that quantile: exact, raw, unjudged.";
    HopSaturated = Counter "hopline_hop_saturated_samples" ["hop"] "samples"
        "Spans longer than histograms tell apart (68.7 s).";
    HopWait = Histogram "hopline_hop_wait_seconds" ["hop"] "seconds"
        "From the offer of a message to its dequeue.";
    HopWaitQuantiles = Summary "hopline_hop_wait_quantiles_seconds" ["hop"] "seconds"
        "The same by quantile, to 1 %.";
    HopService = Histogram "hopline_hop_service_seconds" ["hop"] "seconds"
        "From the dequeue of a message to the end of its handler.";
    HopServiceQuantiles = Summary "hopline_hop_service_quantiles_seconds" ["hop"] "seconds"
        "The same by quantile, to 1 %.";
    HopSojourn = Histogram "hopline_hop_sojourn_seconds" ["hop"] "seconds"
        "Waiting and service together.";
    HopSojournQuantiles = Summary "hopline_hop_sojourn_quantiles_seconds" ["hop"] "seconds"
        "The same by quantile, to 1 %.";
    SplitIsolated = Counter "hopline_split_isolated_messages" ["first_hop"] "messages"
        "Messages that went to the last hop of a split because their key was moved there.";
    SplitMoves = Counter "hopline_split_moves" ["first_hop"] ""
        "Times that a hot key was moved to the last hop of a split.";
    SplitStays = Counter "hopline_split_stays" ["first_hop"] ""
        "Times that a hot key was not moved, because its old hop was not done with it in time.";
    SplitHot = Gauge "hopline_split_hot_keys" ["first_hop"] ""
        "Keys with more than a quarter of a window's messages, at some time.";

    OverflowHanded = Counter "hopline_overflow_handed_messages" ["hop"] "messages"
        "Messages that were handed to the writer of the hop's overflow file: written, failed and pending together.";
    OverflowRefused = Counter "hopline_overflow_refused_messages" ["hop", "reason"] "messages"
        "Messages that were not: the hop has shed them as full.";
    OverflowWritten = Counter "hopline_overflow_written_messages" ["hop"] "messages"
        "Messages in the file.";
    OverflowFailed = Counter "hopline_overflow_failed_messages" ["hop", "reason"] "messages"
        "Messages that were handed over and are not in the file.";
    OverflowPending = Gauge "hopline_overflow_pending_messages" ["hop"] "messages"
        "Messages that were handed over and wait to be written.";
    OverflowBytes = Gauge "hopline_overflow_file_bytes" ["hop"] "bytes"
        "Bytes of the file.";
    OverflowLimit = Gauge "hopline_overflow_limit_bytes" ["hop"] "bytes"
        "Most that the file may have.";
    OverflowFaulty = Gauge "hopline_overflow_faulty" ["hop"] ""
        "1 once the file cannot be written any more.";
    RecordMessages = Counter "hopline_recorder_messages" ["hop"] "messages"
        "Messages of the hop in its capture file.";
    RecordFrames = Counter "hopline_recorder_frames" ["hop"] "frames"
        "Frames of them.";
    RecordBytes = Gauge "hopline_recorder_file_bytes" ["hop"] "bytes"
        "Bytes of the file.";
    RecordLost = Counter "hopline_recorder_lost_frames" ["hop"] "frames"
        "Frames that the hop delivered and the recorder had no room for.";
    RecordUnrecorded = Counter "hopline_recorder_unrecorded_messages" ["hop", "reason"] "messages"
        "Messages that came to the recorder and are not in the file.";
    RecordFaulty = Gauge "hopline_recorder_faulty" ["hop"] ""
        "1 once the file could not be written.";

    StageInfo = Gauge "hopline_stage_info" ["stage", "role", "kind", "on_panic"] ""
        "Always 1; its labels say what each node is. Sources and sinks are stages here.";
    StageState = Gauge "hopline_stage_state" ["stage", "state"] ""
        "1 for the state that the node is in.";
    StageConsumed = Counter "hopline_stage_consumed_messages" ["stage"] "messages"
        "Messages taken: forwarded, absorbed, rejected and held together.";
    StageForwarded = Counter "hopline_stage_forwarded_messages" ["stage"] "messages"
        "Messages that led to an emission, or that a sink sent on.";
    StageAbsorbed = Counter "hopline_stage_absorbed_messages" ["stage", "reason"] "messages"
        "Messages that ended in the stage on purpose.";
    StageRejected = Counter "hopline_stage_rejected_messages" ["stage", "reason"] "messages"
        "Messages that the stage refused.";
    StageHeld = Gauge "hopline_stage_held_messages" ["stage"] "messages"
        "Messages that the stage keeps for later.";
    StageEmitted = Counter "hopline_stage_emitted_messages" ["stage"] "messages"
        "Emissions: a message counts once, on however many hops.";
    StageCounted = Counter "hopline_stage_counted" ["stage", "what"] ""
        "What a stage counts of its own, under its own names.";
    SinkOutOfOrder = Counter "hopline_sink_out_of_order_messages" ["sink"] "messages"
        "Messages that came after one of the same source that was due later.";
    SinkInversions = Counter "hopline_sink_inverted_messages" ["sink"] "messages"
        "Messages that came after one of another source that was due later.";
    SinkInversionMax = Gauge "hopline_sink_inversion_max_seconds" ["sink"] "seconds"
        "The most by which one did.";
    StageTime = Counter "hopline_stage_time_seconds" ["stage", "regime"] "seconds"
        "Where the node's time went.";
    StageHeldBack = Counter "hopline_stage_held_back_seconds" ["stage", "by"] "seconds"
        "Time held back, by the hop whose consumer did it.";
    StagePanics = Counter "hopline_stage_panics" ["stage"] ""
        "How often the node panicked.";
    StageRestarts = Counter "hopline_stage_restarts" ["stage"] ""
        "How often another instance of it was made.";
    StageAway = Counter "hopline_stage_away_seconds" ["stage"] "seconds"
        "Time between two instances of it.";
    StageQuarantined = Counter "hopline_stage_quarantined" ["stage"] ""
        "Panics of it that are kept in the quarantine.";
    StageQuarantineLost = Counter "hopline_stage_quarantine_lost" ["stage"] ""
        "Panics of it for which the quarantine had no room.";

    SourceReceived = Counter "hopline_source_received_messages" ["source"] "messages"
        "Messages received: ingested, shed, rejected, undeclared and duplicates together.";
    SourceBytes = Counter "hopline_source_received_bytes" ["source"] "bytes"
        "Bytes of them.";
    SourceIngested = Counter "hopline_source_ingested_messages" ["source"] "messages"
        "Messages that at least one hop accepted.";
    SourceShed = Counter "hopline_source_shed_messages" ["source"] "messages"
        "Messages that every hop shed.";
    SourceRejected = Counter "hopline_source_rejected_messages" ["source", "reason"] "messages"
        "Messages that the source refused.";
    SourceUndeclared = Counter "hopline_source_undeclared_messages" ["source"] "messages"
        "Messages that decoded into nothing without a reason: a defect.";
    SourceDuplicates = Counter "hopline_source_duplicate_messages" ["source"] "messages"
        "Messages of a sequenced feed of which a copy had come before.";
    SourceSkipped = Counter "hopline_source_skipped_packets" ["source"] "packets"
        "Packets of a capture that are for somebody else.";
    SourceDatagrams = Counter "hopline_source_received_datagrams" ["source"] "datagrams"
        "Datagrams that the system handed over, whatever they held.";
    SourceKernelDropped = Counter "hopline_source_kernel_dropped_datagrams" ["source"] "datagrams"
        "Datagrams that the kernel dropped before the line saw them.";
    SourceDropsAtLeast = Gauge "hopline_source_kernel_dropped_at_least" ["source"] ""
        "1 where that is the least that it may be: the kernel counts a train of datagrams once.";
    SourceBackwards = Counter "hopline_source_time_backwards_messages" ["source"] "messages"
        "Messages whose recorded time lies before that of an earlier one.";
    SourceGaps = Counter "hopline_source_interarrival_gaps" ["source"] ""
        "Gaps between a message and the one before it.";
    SourceGapMean = Gauge "hopline_source_interarrival_mean_seconds" ["source"] "seconds"
        "Their mean.";
    SourceGapDeviation = Gauge "hopline_source_interarrival_deviation_seconds" ["source"] "seconds"
        "Their standard deviation, the root of their variance.";
    SourceGapMax = Gauge "hopline_source_interarrival_longest_seconds" ["source"] "seconds"
        "The longest.";
    SourceDated = Counter "hopline_source_dated_messages" ["source"] "messages"
        "Messages whose event time and time of receipt are known.";
    SourceSkewed = Counter "hopline_source_skew_clamped_messages" ["source"] "messages"
        "Messages whose event time lies after their receive time: their latency counts as 0.";
    SourceLatency = Gauge "hopline_source_latency_seconds" ["source", "percentile"] "seconds"
        "From the event to the receipt, once the source has ended: the way, and the difference of the clocks.";
    SourceLatencyLeast = Gauge "hopline_source_latency_least_seconds" ["source"] "seconds"
        "The least of it, below 0 where the sender's clock is ahead.";
    SourceLatencyJitter = Gauge "hopline_source_latency_jitter_seconds" ["source"] "seconds"
        "Its smoothed change from message to message (RFC 3550).";
    SourceDrift = Gauge "hopline_source_clock_drift_ratio" ["source"] "ratio"
        "How fast the receiver's clock gains on the sender's; 0.000001 is 1 ppm.";
    SourceSteps = Counter "hopline_source_clock_steps" ["source"] ""
        "Steps of one of the two clocks.";
    SourceStep = Gauge "hopline_source_clock_step_seconds" ["source"] "seconds"
        "The latest of them, above 0 where receipts got later.";
    SourceLateMax = Gauge "hopline_source_late_max_seconds" ["source"] "seconds"
        "The most by which a message that was ready at a known time left after it.";
    SourceConnected = Counter "hopline_source_connections_begun" ["source"] ""
        "Connections that began.";
    SourceDisconnected = Counter "hopline_source_connections_ended" ["source", "reason"] ""
        "Connections that ended.";
    SourceConnections = Gauge "hopline_source_connections" ["source"] ""
        "Connections that stand.";
    LinkState = Gauge "hopline_link_state" ["source", "state"] ""
        "1 for the state of the connection that the source keeps open.";
    LinkRetry = Gauge "hopline_link_retry_seconds" ["source"] "seconds"
        "Time until the next try; 0 where none is awaited.";
    LinkDials = Counter "hopline_link_dials" ["source"] ""
        "Tries to connect.";
    LinkOpened = Counter "hopline_link_opened" ["source"] ""
        "Times that it came to be open.";
    LinkLost = Counter "hopline_link_lost" ["source", "reason"] ""
        "Times that it was lost, or that a try came to nothing.";
    LinkCloses = Counter "hopline_link_closes" ["source"] ""
        "Ends of it with a code or without; the codes are in the report.";
    LinkRefusals = Counter "hopline_link_refusals" ["source"] ""
        "Answers that refused it; their statuses are in the report.";
    LinkOutages = Counter "hopline_link_outages" ["source"] ""
        "Times that it was lost while it was open: each is a gap in what came.";
    LinkDown = Counter "hopline_link_down_seconds" ["source"] "seconds"
        "Time in which it was not open, since its first try and up to the last time that it was.";
    LinkStale = Counter "hopline_link_stale" ["source"] ""
        "Times that its data was called stale.";
    LinkPings = Counter "hopline_link_pings" ["source"] ""
        "Pings sent.";
    LinkPongs = Counter "hopline_link_pongs" ["source"] ""
        "Answers to them.";
    LinkPinged = Counter "hopline_link_peer_pings" ["source"] ""
        "Pings of the peer.";
    LinkPongsDropped = Counter "hopline_link_dropped_pongs" ["source"] ""
        "Answers to those that found no room, since the peer did not read.";
    LinkRoundTrip = Gauge "hopline_link_round_trip_seconds" ["source"] "seconds"
        "How long the last answer to a ping took.";
    LinkRoundTripMax = Gauge "hopline_link_round_trip_max_seconds" ["source"] "seconds"
        "The longest.";
    LinkIn = Counter "hopline_link_received_bytes" ["source"] "bytes"
        "Bytes that came in, all of the protocol included.";
    LinkOut = Counter "hopline_link_sent_bytes" ["source"] "bytes"
        "Bytes that went out.";
    SourceRefused = Counter "hopline_source_refused_pushes" ["source"] ""
        "Pushes into an inlet that were refused; the pusher was told.";
    SourceClaimMax = Gauge "hopline_source_claim_open_max_seconds" ["source"] "seconds"
        "The longest that a claim on an inlet was seen open.";
    SourceClamped = Counter "hopline_source_wire_clamped_messages" ["source"] "messages"
        "Messages whose stamp by the kernel made no sense: their span on the wire counts as 0.";
    SourceClockSteps = Counter "hopline_source_wire_clock_steps" ["source"] ""
        "How often the wall clock was set meanwhile.";
    SourceNotByDevice = Counter "hopline_source_wire_not_by_device_messages" ["source"] "messages"
        "Messages with the kernel's stamp although a device's were granted.";
    SourceWire = Histogram "hopline_source_wire_seconds" ["source"] "seconds"
        "From the kernel's stamp of a message to its receipt.";
    SourceWireQuantiles = Summary "hopline_source_wire_quantiles_seconds" ["source"] "seconds"
        "The same by quantile, to 1 %.";

    FeedState = Gauge "hopline_feed_state" ["source", "state"] ""
        "1 for what can be relied on now of a sequenced feed.";
    FeedDelivered = Counter "hopline_feed_delivered_messages" ["source"] "messages"
        "Messages that were handed out, each once and in order.";
    FeedLost = Counter "hopline_feed_lost_messages" ["source"] "messages"
        "Messages that were given up: no line of the feed brought them in time.";
    FeedLostRanges = Counter "hopline_feed_lost_ranges" ["source"] ""
        "Runs of sequences that were lost; the report names the first of them.";
    FeedHeld = Gauge "hopline_feed_held_messages" ["source"] "messages"
        "Messages that wait for those before them.";
    FeedHeldMax = Gauge "hopline_feed_held_max_messages" ["source"] "messages"
        "Most messages that did at once.";
    FeedGaps = Counter "hopline_feed_gaps" ["source"] ""
        "Times that something was missing when nothing was before.";
    FeedSessions = Counter "hopline_feed_sessions" ["source"] ""
        "Sessions that began.";
    FeedRestarts = Counter "hopline_feed_restarts" ["source"] ""
        "Sessions that began again from 1 under the same name.";
    FeedEnded = Counter "hopline_feed_ended_sessions" ["source"] "sessions"
        "Sessions that said that they were over.";
    FeedStale = Counter "hopline_feed_stale" ["source"] ""
        "Times that nothing up to date was heard for too long.";
    LinePackets = Counter "hopline_feed_line_packets" ["source", "feed_line"] "packets"
        "Datagrams taken from a line's socket.";
    LineBytes = Counter "hopline_feed_line_bytes" ["source", "feed_line"] "bytes"
        "Bytes of them.";
    LineRejected = Counter "hopline_feed_line_rejected_packets" ["source", "feed_line", "reason"] "packets"
        "Datagrams that were refused.";
    LineHeartbeats = Counter "hopline_feed_line_heartbeats" ["source", "feed_line"] ""
        "Datagrams without messages among those understood.";
    LineMessages = Counter "hopline_feed_line_messages" ["source", "feed_line", "outcome"] "messages"
        "Messages that the line brought, each under one heading.";
    LineMissed = Counter "hopline_feed_line_missed_messages" ["source", "feed_line"] "messages"
        "Messages that the line never brought, as far as its own sequences tell: its losses.";
    LineReordered = Counter "hopline_feed_line_reordered_messages" ["source", "feed_line"] "messages"
        "Messages that it brought after later ones.";
    LineRepeated = Counter "hopline_feed_line_repeated_messages" ["source", "feed_line"] "messages"
        "Messages that it brought twice.";
    LineKernelDropped = Counter "hopline_feed_line_kernel_dropped_datagrams" ["source", "feed_line"] "datagrams"
        "Datagrams of it that the kernel dropped before they were taken.";

    ReplayMessages = Counter "hopline_replay_messages" ["source"] "messages"
        "Messages that a replay handed over; as all of a replay, once it has ended.";
    ReplayHash = Gauge "hopline_replay_hash_matches" ["source"] ""
        "1 where what was handed over is what the recorder had there, 0 where it is not.";
    ReplayError = Gauge "hopline_replay_send_error_seconds" ["source", "percentile"] "seconds"
        "From the due time of a message to its hand-over.";
    ReplayApart = Gauge "hopline_replay_send_error_apart_from_stalls_seconds" ["source", "percentile"] "seconds"
        "The same without messages that stalls made late.";
    ReplayStalled = Counter "hopline_replay_stalled_messages" ["source"] "messages"
        "Messages that stalls made late.";
    ReplayStalls = Counter "hopline_replay_stalls" ["source"] ""
        "Stalls: stretches in which a message was due and the source did not get its turn.";
    ReplayStallTime = Counter "hopline_replay_stalled_seconds" ["source"] "seconds"
        "All of them together.";
    ReplayStallMax = Gauge "hopline_replay_stall_max_seconds" ["source"] "seconds"
        "The longest.";
    ReplayCatchUp = Gauge "hopline_replay_catch_up_max_seconds" ["source"] "seconds"
        "Longest time from the end of a stall until a message was on time again.";
    ReplaySlope = Gauge "hopline_replay_slope_ratio" ["source"] "ratio"
        "How fast the least send error grows against CLOCK_MONOTONIC; 0.000001 is 1 ppm.";

    LoopTurns = Counter "hopline_loop_turns" ["loop"] ""
        "Turns of the loop.";
    LoopSilent = Gauge "hopline_loop_silent_seconds" ["loop"] "seconds"
        "For how long the loop has made no turn, as far as somebody looked.";
    LoopTurnMax = Gauge "hopline_loop_turn_max_seconds" ["loop"] "seconds"
        "Longest turn that did work.";
    LoopTime = Counter "hopline_loop_time_seconds" ["loop", "regime"] "seconds"
        "Where the loop's own time went; that of its nodes is theirs.";
    LoopCore = Gauge "hopline_loop_pinned_core" ["loop"] ""
        "The core that the loop's thread is pinned to; absent where it is not.";
    LoopOff = Gauge "hopline_loop_off_core" ["loop"] ""
        "1 where the thread last ran on another core than it is pinned to.";
    LoopCpu = Counter "hopline_loop_cpu_seconds" ["loop"] "seconds"
        "Processor time of the loop's thread.";
    LoopRunDelay = Counter "hopline_loop_run_delay_seconds" ["loop"] "seconds"
        "Time to dispatch, summed up: for how long the thread could have run and had no core.";
    LoopSlices = Counter "hopline_loop_timeslices" ["loop"] ""
        "How often the thread was given a core.";
    LoopSwitches = Counter "hopline_loop_context_switches" ["loop", "kind"] ""
        "Times that the thread gave its core up by itself, and that it was taken from it.";
    LoopMigrations = Counter "hopline_loop_migrations" ["loop"] ""
        "Times that the thread moved to another core since the first page.";

    EdgeConnections = Gauge "hopline_edge_connections" [] ""
        "Connections to the edge that are open.";
    EdgeAccepted = Counter "hopline_edge_accepted_connections" [] "connections"
        "Connections that the edge accepted: ended and open together.";
    EdgeTurnedAway = Counter "hopline_edge_turned_away_connections" ["reason"] "connections"
        "Connections among them that were not let in.";
    EdgeEnded = Counter "hopline_edge_ended_connections" ["reason"] "connections"
        "Connections among them that ended.";
    EdgeCloses = Counter "hopline_edge_closes" ["code"] ""
        "Connections among those that were told why they end, by the code that they were told.";
    EdgeStreams = Counter "hopline_edge_streams" ["transport"] ""
        "Connections that became a stream of events.";
    EdgeStreamsOpen = Gauge "hopline_edge_open_streams" ["transport"] ""
        "Streams that are open.";
    EdgeProblems = Counter "hopline_edge_refused_requests" ["problem"] "requests"
        "Requests that were refused.";
    EdgePublished = Counter "hopline_edge_published_events" [] "events"
        "Events published, once each.";
    EdgeUnpublished = Counter "hopline_edge_unpublished_events" [] "events"
        "Events that their channel did not take.";
    EdgeDue = Counter "hopline_edge_due_events" ["why"] "events"
        "Events due to clients, once for each: sent, skipped, shed, covered, left and waiting together.";
    EdgeSent = Counter "hopline_edge_sent_events" [] "events"
        "Events sent.";
    EdgeSkipped = Counter "hopline_edge_skipped_events" [] "events"
        "Events that newer ones stood for, or that a client did not want.";
    EdgeShed = Counter "hopline_edge_shed_events" ["reason"] "events"
        "Events that clients lost, and were told of.";
    EdgeCovered = Counter "hopline_edge_covered_events" [] "events"
        "Events that a snapshot had.";
    EdgeLeft = Counter "hopline_edge_left_events" [] "events"
        "Events that waited for clients when they left.";
    EdgeWaiting = Gauge "hopline_edge_waiting_events" [] "events"
        "Events that wait for clients.";
    EdgeGaps = Counter "hopline_edge_gaps" ["reason"] ""
        "Gaps that clients were told of.";
    EdgeResumes = Counter "hopline_edge_resumes" ["outcome"] ""
        "Clients that came back to a position.";
    EdgeResyncs = Counter "hopline_edge_resyncs" [] ""
        "Clients whose view was out of step, and that began anew.";
    EdgeMessagesOut = Counter "hopline_edge_sent_messages" [] "messages"
        "Messages sent to clients: events, snapshots, answers and heartbeats.";
    EdgeBytesOut = Counter "hopline_edge_sent_bytes" [] "bytes"
        "Bytes written to clients.";
    EdgeWrites = Counter "hopline_edge_writes" [] ""
        "Writes to clients.";
    EdgeMessagesIn = Counter "hopline_edge_received_messages" [] "messages"
        "Messages of clients.";
    EdgeRefused = Counter "hopline_edge_refused_messages" [] "messages"
        "Messages among them that were refused.";
    EdgeAcks = Counter "hopline_edge_acks" [] ""
        "Acknowledgements among them.";
    EdgeUntaken = Counter "hopline_edge_untaken_acks" ["reason"] ""
        "Acknowledgements of which nothing was taken.";
    EdgeClamped = Counter "hopline_edge_clamped_samples" [] "samples"
        "Samples that came before they were sent, by their client's clock; they count as zero.";
    EdgeUncertain = Summary "hopline_edge_clock_uncertainty_quantiles_seconds" [] "seconds"
        "By how much the clocks of clients may be wrong: half of the round trip that each rests on.";

    ProcessCpu = Counter "process_cpu_seconds" [] "seconds"
        "Processor time of all threads.";
    ProcessResident = Gauge "process_resident_memory_bytes" [] "bytes"
        "Resident memory.";
    ProcessHeap = Gauge "process_heap_bytes" [] "bytes"
        "Resident memory that belongs to no file: what the allocator holds, stacks, rings (RssAnon).";
    ProcessVirtual = Gauge "process_virtual_memory_bytes" [] "bytes"
        "Address space.";
    ProcessFaults = Counter "process_page_faults" ["kind"] ""
        "Page faults: minor ones needed no disk, major ones waited for it.";
    ProcessFds = Gauge "process_open_fds" [] ""
        "Files and sockets that are open.";
    ProcessFdsMax = Gauge "process_max_fds" [] ""
        "How many may be open.";
    ProcessThreads = Gauge "process_threads" [] ""
        "Threads.";
    ProcessStart = Gauge "process_start_time_seconds" [] "seconds"
        "When the process started, in seconds of the Unix epoch.";

    PageResponses = Counter "hopline_metrics_responses" ["code"] ""
        "Responses of this server by status, the one in hand not among them.";
    PageConnections = Gauge "hopline_metrics_connections" [] ""
        "Connections to this server.";
    PageCut = Counter "hopline_metrics_connections_cut" ["reason"] ""
        "Connections that this server ended by itself.";
    PageWait = Gauge "hopline_metrics_page_wait_seconds" [] "seconds"
        "How long the snapshot of this page took to come, from the request on.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules() {
        let ours = |name: &str| name.starts_with("hopline_") || name.starts_with("process_");
        let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        for (at, family) in FAMILIES.iter().enumerate() {
            let name = family.name;
            assert!(ours(name) && name.bytes().all(word), "{name}");
            assert!(!name.ends_with("_total"), "{name}: the page adds it");
            let unit = format!("_{}", family.unit);
            assert!(family.unit.is_empty() || name.ends_with(&unit), "{name}");
            let timed = matches!(family.kind, Kind::Histogram | Kind::Summary);
            assert!(!timed || family.unit == "seconds", "{name}");
            // Both are written by histograms and summaries alone.
            let mut labels = family.labels.iter();
            assert!(labels.all(|label| *label != "le" && *label != "quantile"));
            let plain = |byte: u8| byte != b'\n' && byte != b'\\' && byte != b'"';
            assert!(!family.help.is_empty() && family.help.bytes().all(plain));
            let others = &FAMILIES[..at];
            assert!(others.iter().all(|other| other.name != name), "{name}");
        }
    }
}
