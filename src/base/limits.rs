//! Every bound of the library, each with its reason, tied to its neighbours by assertions at compile time.

mod live;
mod screen;

pub use live::*;
pub use screen::*;

/// Bytes of a slot before the payload: the commit word and the envelope.
pub const SLOT_HEAD_BYTES: usize = 32;

/// Bytes of one cache line on the machines this is built for.
pub const CACHE_LINE_BYTES: usize = 64;

/// Bytes of a hop's slot: two cache lines, because a typed market frame (about 64 B) with its
/// envelope does not fit in one.
pub const SLOT_BYTES: usize = 2 * CACHE_LINE_BYTES;

/// Bytes of payload in a hop's slot.
pub const PAYLOAD_BYTES: usize = SLOT_BYTES - SLOT_HEAD_BYTES;

/// Deepest ring. Beyond a million slots of 128 B a queue is a store: its delay is seconds.
pub const DEPTH_MAX: usize = 1 << 20;

/// Shallowest ring. One slot cannot hold a frame in hand and one on the way.
pub const DEPTH_MIN: usize = 2;

/// Largest arena of a ring of blobs, in bytes: beyond it the descriptors' 32-bit offsets end, and a queue is a store.
pub const ARENA_BYTES_MAX: usize = 1 << 30;

/// Smallest arena of a ring of blobs, in bytes: two cache lines, so that the largest blob, half of the arena, is one.
pub const ARENA_BYTES_MIN: usize = 2 * CACHE_LINE_BYTES;

/// Most bytes that a producer of blobs takes into its cache ahead of the next one: an eighth of a first-level cache
/// of 32 KiB, so that it pushes out little of what the producer works on.
pub const AHEAD_BYTES_MAX: usize = 1 << 12;

/// Most producers of one ring that are told apart by a number of their own: a bit each in one word.
/// More threads than that pushing into one ring is a machine beyond what a line is for; they
/// still push, under a number that they share.
pub const PRODUCERS_NAMED_MAX: usize = 64;

/// Most readers of one multicast ring: a producer without credits looks at a cache line of each of
/// them, which is a microsecond or two for so many.
pub const READERS_MAX: usize = 16;

/// Most keys of a hop's table of conflation: 8 MiB and more of entries, as many as a deep ring has.
pub const CONFLATE_KEYS_MAX: usize = 1 << 16;

/// Keys of a table that names no bound: the symbols of a venue.
pub const CONFLATE_KEYS_DEFAULT: usize = 4096;

/// Most messages that a consumer steps over in a turn beside those that it takes, because they came too late: 20 ns each, so a
/// neighbour on the same thread waits 20 us at the most.
pub const DROPS_PER_TURN_MAX: usize = 1024;

/// Slots of the ring from a hop that overflows into a file to the one who writes it: 2 MiB, and 16 ms of a million frames a
/// second, for which a disk may keep its writer waiting before messages are shed.
pub const OVERFLOW_DEPTH: usize = 1 << 14;

/// How long the writer of overflow files gathers before it looks again, in nanoseconds: a sixteenth of what the ring to it holds
/// of a million frames a second.
pub const OVERFLOW_LOOK_NS: u64 = 1_000_000;

/// Looks in a row that find nothing before it sleeps until it is woken: a hop that overflows now and then wakes it once, and not
/// for each message.
pub const OVERFLOW_LOOKS: u32 = 16;

/// Bytes that an overflow file may have unless told otherwise: some 500,000 messages of one frame.
pub const OVERFLOW_FILE_BYTES_DEFAULT: u64 = 64 << 20;

/// Fewest bytes of one: what the file says of itself and several of the longest messages.
pub const OVERFLOW_FILE_BYTES_MIN: u64 = 1 << 20;

/// Most bytes of one, a tebibyte: what is more is no overflow.
pub const OVERFLOW_FILE_BYTES_MAX: u64 = 1 << 40;

/// Most classes of one hop: more than anybody can rank.
pub const CLASSES_MAX: usize = 8;

/// Depth of a hop that names none: 512 KiB, 40 ms at 100 k frames a second.
pub const DEPTH_DEFAULT: usize = 4096;

/// Most frames a node takes from one input in a turn: long enough to amortise the turn,
/// short enough that a neighbour on the same thread waits microseconds.
pub const BATCH_FRAMES: usize = 32;

/// Most frames that a line may let a node take from one input in a turn: at 4 us a frame that turn is a
/// millisecond, the pace of housekeeping.
pub const BATCH_FRAMES_MAX: usize = 256;

/// Turns of others after which a node that has input gets one, whatever the schedule of its thread says: a
/// turn takes 0.3 to 30 us, so it waits for 0.1 to 8 ms, and takes no more than a share of such a thread.
pub const GUARD_TURNS: u32 = 256;

/// Most such turns that a line may set: a million of 0.3 us are a sixth of what a drain may take.
pub const GUARD_TURNS_MAX: u32 = 1 << 20;

/// The last of the priorities, and that of nodes that name none: as many as a line has nodes.
pub const PRIORITY_MAX: u8 = NODES_MAX as u8 - 1;

/// Longest time that a thread with a schedule gives to stages before its sources have a turn again, in
/// nanoseconds, beyond the turn that is under way: ten times what a look at a socket takes.
pub const ROUND_NS: u64 = 5_000;

/// Most messages a source takes from one socket or file in a turn.
pub const BURST_MESSAGES: usize = 32;

/// Most fragments of one message. The largest message seen of the exchange (42 kB, 2,000 levels)
/// needs about 400.
pub const FRAGMENTS_MAX: usize = 512;

/// Largest message a source accepts, in bytes: what one UDP datagram over IPv4 can carry.
pub const MESSAGE_BYTES_MAX: usize = 65_507;

/// Largest line a file source searches an end for before it gives up on that line; the rest of
/// the line is skipped and counted.
pub const LINE_BYTES_MAX: usize = MESSAGE_BYTES_MAX + 64;

/// Longest name of a metric, and of a field of one, in bytes. Datadog takes 200, Graphite keeps each part of a path as a file
/// name of 255; what is longer is a defect of its sender.
pub const METRIC_NAME_BYTES_MAX: usize = 512;

/// Longest set of tags of a metric, in bytes as sent: forty times what clients send, and short enough that a line can never
/// fill a table's memory.
pub const METRIC_TAGS_BYTES_MAX: usize = 4096;

/// Most tags of a metric: Datadog keeps 100. What sorts them does it in a fixed place.
pub const METRIC_TAGS_MAX: usize = 128;

/// Longest line of telemetry that becomes frames, in bytes: a metric with its longest name and tags and 400 values, and the 8 KiB that
/// Datadog takes of an event.
pub const METRIC_LINE_BYTES_MAX: usize = 8 << 10;

/// Longest such line unless told otherwise: it bounds the frames of a message, and with them how deep a hop must be.
pub const METRIC_LINE_BYTES_DEFAULT: usize = 4 << 10;

/// Longest key of a table of metrics, in bytes: a name, its tags, and a field.
pub const METRIC_KEY_BYTES_MAX: usize = 2 * METRIC_NAME_BYTES_MAX + METRIC_TAGS_BYTES_MAX;

/// Bytes that a table of metrics keeps of each key unless told otherwise: clients send 30 to 120.
pub const METRIC_KEY_BYTES_DEFAULT: usize = 256;

/// Most keys of a table of metrics: at [`METRIC_KEY_BYTES_DEFAULT`] 64 MiB of names. A process that sees more of them at once
/// has tags that are ids.
pub const METRIC_KEYS_MAX: usize = 1 << 18;

/// Keys of a table of metrics that names no bound: 4 MiB of names, and some times what one host's services send.
pub const METRIC_KEYS_DEFAULT: usize = 1 << 14;

/// Shortest window that metrics are summed up over, in nanoseconds: a millisecond, the pace of housekeeping.
pub const METRIC_WINDOW_NS_MIN: u64 = 1_000_000;

/// Longest such window, in nanoseconds: a day.
pub const METRIC_WINDOW_NS_MAX: u64 = 86_400_000_000_000;

/// Most windows that stay open for late metrics behind the current one: each costs a place for every key.
pub const METRIC_LATE_WINDOWS_MAX: usize = 5;

/// Most histograms that a table of metrics has in reserve, 14 KiB each: 230 MiB.
pub const METRIC_HISTOGRAMS_MAX: usize = 1 << 14;

/// Histograms of a table that names no bound: a thousand timers in one open window, 14 MiB.
pub const METRIC_HISTOGRAMS_DEFAULT: usize = 1 << 10;

/// Most sets that a table of metrics has in reserve.
pub const METRIC_SETS_MAX: usize = 1 << 12;

/// Sets of a table that names no bound: at [`METRIC_SET_MEMBERS_DEFAULT`] 4 MiB.
pub const METRIC_SETS_DEFAULT: usize = 1 << 8;

/// Most members that a set tells apart in a window, 16 B each.
pub const METRIC_SET_MEMBERS_MAX: usize = 1 << 16;

/// Members that a set tells apart unless told otherwise.
pub const METRIC_SET_MEMBERS_DEFAULT: usize = 1 << 10;

/// Most connections of one listening source. A thousand that each send 1 k messages a second are
/// what a core decodes; more of them belong on several sources, or at the edge.
pub const CONNECTIONS_MAX: usize = 1024;

/// Connections of a listening source that names no bound: 64 buffers of 16 KiB are 1 MiB, about
/// what a second-level cache holds.
pub const CONNECTIONS_DEFAULT: usize = 64;

/// Connections of a driver that is opened without a number: two full listening sources with a reply sink each, or one and its
/// clients in the same process.
pub const STREAMS_DEFAULT: usize = 4 * CONNECTIONS_MAX;

/// Most connections one driver may be opened for: a place is a 16-bit number, an address of a client has no more ports, and a
/// loop with more of them than that, each with a message a second, has 15 us for each.
pub const STREAMS_MAX: usize = 1 << 16;

/// Largest message of a stream that names no bound, in bytes: with its prefix it fills the
/// smallest buffer of a connection.
pub const STREAM_MESSAGE_BYTES_DEFAULT: usize = (16 << 10) - 4;

/// Longest message that a WebSocket reads unless told otherwise, in bytes: what is longer than a message may be is then refused
/// and the connection stays. A megabyte is what clients of other makes take, and more than any message of a feed.
pub const WEBSOCKET_READ_BYTES_DEFAULT: usize = 1 << 20;

/// Most that it may be told to read, in bytes: three times as much is held while a message comes in fragments.
pub const WEBSOCKET_READ_BYTES_MAX: usize = 16 << 20;

/// Most bytes of messages that a WebSocket sends when it is open, in all: a subscription to every symbol of a venue is less.
pub const WEBSOCKET_SUBSCRIBE_BYTES_MAX: usize = 32 << 10;

/// Longest path or name of a Unix socket, in bytes: `sun_path` has 108 with its end (unix(7)).
pub const UNIX_NAME_BYTES_MAX: usize = 107;

/// How long a lost connection waits before it is tried again the first time, in nanoseconds: longer
/// than a restart of a process on this machine takes to bind. It doubles up to
/// [`RECONNECT_NS_MAX`], and each wait is drawn from its upper half, so that many who lost one
/// peer do not all come back at once.
pub const RECONNECT_NS_MIN: u64 = 10_000_000;

/// Longest wait between two tries to connect, in nanoseconds: a peer that is back is found within it.
pub const RECONNECT_NS_MAX: u64 = 1_000_000_000;

/// How long a connection whose client has ended its half stays open for replies, in nanoseconds:
/// longer than any reply is on a line that is not stuck.
pub const HALF_CLOSED_NS: u64 = 1_000_000_000;

/// How long a client that does not read its replies, or reads them slowly, may hold back a line in
/// all, in nanoseconds; then it is disconnected.
pub const STALLED_CLIENT_NS: u64 = 1_000_000_000;

/// How many bytes a second a client has to take to hold a line back for as long as it likes: a full
/// hop of the default depth is through in 15 ms then, which is what its neighbours wait.
pub const STEADY_CLIENT_BYTES_PER_S: u64 = 16 << 20;

/// A client that holds nothing back wins back one part in so many of that time: so none can hold
/// the line for more than a share of it that is one in this and one more.
pub const STALLED_WON_BACK: u64 = 10;

/// Most nodes of a line. A line of hundreds of stages is two lines.
pub const NODES_MAX: usize = 64;

/// Most hops into or out of one node.
pub const HOPS_PER_NODE_MAX: usize = 16;

/// Most hops of a line.
pub const HOPS_MAX: usize = 256;

/// Most kinds of frames on one hop: a mixed hop dispatches by a short match.
pub const KINDS_PER_HOP_MAX: usize = 16;

/// Most output ports of a stage.
pub const PORTS_MAX: usize = 8;

/// Most reasons in one closed enum of reasons: an ingress that takes any of the formats has some thirty, and each is a counter
/// of 8 B in every node.
pub const REASONS_MAX: usize = 40;

/// Most quantile limits of one budget.
pub const LIMITS_PER_BUDGET_MAX: usize = 5;

/// Longest span a histogram tells apart, in nanoseconds: 68.7 s, a power of two. Longer ones are
/// recorded at this value and counted as saturated.
pub const HIST_MAX_NS: u64 = 1 << 36;

/// Significant digits of the histograms on hops: 1 % wide buckets fit in the cache.
pub const HIST_DIGITS: u8 = 2;

/// How often a loop does its housekeeping (publish histograms, check for a stop), in nanoseconds.
pub const HOUSEKEEPING_NS: u64 = 1_000_000;

/// Longest a parked loop sleeps before it looks up, in nanoseconds: bounds how late a stop is seen.
pub const PARK_MAX_NS: u64 = 50_000_000;

/// Shortest sleep that a line may set as its longest, in nanoseconds: less than a sleep and a wake
/// take by themselves, it would be spinning by system calls.
pub const PARK_MIN_NS: u64 = 10_000;

/// Longest time that a line may set for a loop to spin, or to yield, before it goes on to the next
/// step of its ladder, in nanoseconds: a second. What is to stay awake longer keeps its core for good,
/// and the plan should know: it takes the strategy that says so.
pub const IDLE_SPAN_MAX_NS: u64 = 1_000_000_000;

/// How long a drain may take before what is left is discarded and its holder named, in nanoseconds.
pub const DRAIN_DEADLINE_NS: u64 = 2_000_000_000;

/// How long all loops together may take to open what they need, in nanoseconds: files and sockets
/// open in milliseconds, so this only ends a start that hangs.
pub const OPEN_DEADLINE_NS: u64 = 10_000_000_000;

/// How long loops may take to end once they were told to give up, in nanoseconds: several of the
/// longest parks. A loop that takes longer hangs in a handler and is left behind.
pub const GIVE_UP_GRACE_NS: u64 = 5 * PARK_MAX_NS;

/// A loop without a turn for that long hangs in a handler, in nanoseconds: the line is drained and
/// the node named. No handler of a low-latency line takes seconds, and no host stalls that long.
pub const STALL_NS: u64 = 5_000_000_000;

/// A claim on an inlet's ring that stays open for that long is a fault of its producer, in
/// nanoseconds: a closure that fills a slot takes microseconds, and no host takes a thread off its
/// core for longer than that while it holds back a line.
pub const CLAIM_OPEN_NS: u64 = 100_000_000;

/// Long segments that a judged loop notes beyond one for each message that its hops have room to note, since a send over UDP
/// takes longer than [`SUSPECT_NS`] as a rule: at 17,000 gaps a second, the most seen on a shared machine, enough for 7 s, and
/// for minutes where the host is quiet. What has no room is counted, and the run is not judged.
pub const GAP_LOG_SEGMENTS: usize = 1 << 17;

/// From how long on an idle segment is noted, in nanoseconds: the least that is ever taken for a gap of the host.
pub const IDLE_FLOOR_NS: u64 = 500;

/// Time between two looks at how fast a judged loop's core runs, in nanoseconds: a look takes 0.1 us, so 0.2 % of an idle
/// loop's time, and most whiles for which a neighbour slows a core down are longer (50 us to seconds, as seen here).
pub const PACE_NS: u64 = 50_000;

/// Such looks that a judged loop notes beyond those of the run, if its length is known: 26 s of them, 8 MiB.
pub const PACE_LOG: usize = 1 << 19;

/// Most such looks that a judged loop notes: seven minutes of them, 128 MiB. What has no room is counted, and the run is not
/// judged.
pub const PACE_LOG_MAX: usize = 1 << 23;

/// From how long on the kernel is asked about a handler, a send or a chore, in nanoseconds: a question costs 1.5 us.
pub const SUSPECT_NS: u64 = 3_000;

/// From how long on what the log itself takes is a gap of the host, in nanoseconds: three system calls and a scan of a thousand
/// buckets take 2 us, on a core that is shared 4. Preemption likes the end of a system call.
pub const BLAME_FROM_NS: u64 = 10_000;

/// Most that a message of a batch adds to [`SUSPECT_NS`], in nanoseconds: batches are timed as a whole.
pub const SUSPECT_MESSAGE_NS: u64 = 1_000;

/// Messages that a judged hop notes unless told otherwise: 10 s at 100,000 a second, 24 B each.
pub const PASSAGES_DEFAULT: usize = 1 << 20;

/// Slots of a recorder's tap: at a million frames a second this is 65 ms, longer than a thread without a core of its own usually
/// waits for one. 8 MiB a hop that is recorded.
pub const RECORD_DEPTH: usize = 1 << 16;

/// Most frames that a recorder takes of one hop before it looks at the next, some 200 us.
pub const RECORD_BURST: usize = 1024;

/// A recorder hands the system what it has gathered that often, in nanoseconds, and when nothing more comes: what a killed
/// process takes with it is at most that old.
pub const RECORD_FLUSH_NS: u64 = 5_000_000;

/// Bytes that a recorded file may have unless told otherwise: hours of a busy feed, and little enough for most disks.
pub const RECORD_BYTES_DEFAULT: u64 = 4 << 30;

/// Least bytes that a recorded file may be given: its head and some of the longest messages.
pub const RECORD_BYTES_MIN: u64 = 1 << 20;

/// Requests of a loop that wait to be taken: one for each node of the largest line, so only a loop that makes no turns has no
/// room for another.
pub const REQUESTS_DEPTH: usize = NODES_MAX;

/// Most requests that a loop takes with one housekeeping: each is some nanoseconds and a stamp, and all that can wait are taken
/// within 16 ms.
pub const REQUESTS_PER_CHORE: usize = 4;

/// Complaints of a loop that nobody has taken yet, some kilobytes: all kinds at their rate for over a second, and the outside
/// looks fifty times a second.
pub const COMPLAINTS_DEPTH: usize = 64;

/// Complaints of a kind that a loop may tell at once: one for each of the hops of a usual node.
pub const COMPLAINT_BURST: u64 = 8;

/// From then on one of a kind is told in so long, in nanoseconds: ten lines a second are more than a person reads already.
pub const COMPLAINT_NS: u64 = 100_000_000;

/// A hop that has shed nothing for that long has ended to shed, in nanoseconds: longer than the gaps between the bursts of one
/// overload, and the time in which a line should have recovered from it.
pub const SHED_QUIET_NS: u64 = 100_000_000;

/// A loop without a turn for that long is not alive, in nanoseconds: a parked one makes a turn after [`PARK_MAX_NS`], so it has
/// to miss one. A handler that takes so long has spent the budget of any low-latency line many times over.
pub const LIVE_NS: u64 = 2 * PARK_MAX_NS;

/// Most lines of a sequenced feed: A and B, the copies that exchanges send.
pub const FEED_LINES_MAX: usize = 2;

/// Runs of lost sequences that a report names, the first ones: 8 KiB a feed. One that loses more often has no
/// few places to look at, and the count goes on.
pub const LOST_RANGES_MAX: usize = 128;

/// Most windows on a line's peaks: the run's own, that of reports, and one for each other reader, such as a live view, a
/// page and some exporters of metrics. Each takes 16 B a hop.
pub const WINDOWS_MAX: usize = 16;

/// Bytes that are kept of a panic's words: a line on a terminal and a half, which holds what an assertion says.
pub const PANIC_WORDS_BYTES: usize = 160;

/// Panics of one stage that wait for somebody to look, a power of two: whoever holds the line looks fifty times a second, and a
/// stage that panics more often than this in between is broken, not unlucky. 20 KiB a stage that asks for it.
pub const QUARANTINE_DEPTH: usize = 64;

/// Panics of a line that are kept for its report, the first ones: what comes later mostly says the same. 100 KiB.
pub const QUARANTINE_KEPT: usize = 256;

/// Most panics that a stage may be allowed within its window: the times of all of them are kept, which is 8 KiB.
pub const PANICS_MAX: u32 = 1024;

/// Panics that a stage may skip within [`PANIC_WINDOW_NS_DEFAULT`] unless told otherwise: some bad frames are bad luck, more of
/// them are a defect that somebody has to see.
pub const PANICS_DEFAULT: u32 = 16;

/// Restarts that a stage gets within [`PANIC_WINDOW_NS_DEFAULT`] unless told otherwise: each loses its state.
pub const RESTARTS_DEFAULT: u32 = 5;

/// How long after a timer that panicked it comes again, where the stage goes on and has set no other, in nanoseconds: one that
/// always panics comes to its limit within milliseconds, and its neighbours have their turns in between.
pub const TIMER_AGAIN_NS: u64 = 1_000_000;

/// A stage that has been made anew so often in a row without being done with a frame is not alive: one that is unlucky in its
/// next frame as well is not broken yet.
pub const RESTARTS_IN_VAIN_MAX: u64 = 3;

/// The window in which panics are counted unless told otherwise, in nanoseconds: a minute.
pub const PANIC_WINDOW_NS_DEFAULT: u64 = 60_000_000_000;

/// Shortest such window, in nanoseconds: a panic takes some microseconds, so a shorter one limits nothing.
pub const PANIC_WINDOW_NS_MIN: u64 = 1_000_000;

/// Longest such window, in nanoseconds: an hour. What panics more seldom than that is for a person to look at.
pub const PANIC_WINDOW_NS_MAX: u64 = 3_600_000_000_000;

/// How long a stage that is made anew is away the first time unless told otherwise, in nanoseconds.
pub const RESTART_NS_DEFAULT: u64 = 10_000_000;

/// How long it is away at most unless told otherwise, in nanoseconds: less than a drain may take, so that one who looks at a
/// line that holds still sees it go on.
pub const RESTART_NS_MAX_DEFAULT: u64 = 1_000_000_000;

/// Shortest back-off, in nanoseconds: what is shorter than a panic takes is none.
pub const RESTART_NS_MIN: u64 = 100_000;

/// Longest back-off, in nanoseconds: a minute. Its inputs wait that long, and so does all that is upstream.
pub const RESTART_NS_MAX: u64 = 60_000_000_000;

/// Most connections to a line's page of metrics: some scrapers, a probe for each of health and readiness, a person. One that
/// comes beyond them takes the place of one that is idle, or is turned away.
pub const METRICS_CONNECTIONS_MAX: usize = 16;

/// Largest head of a request for a page, in bytes: scrapers send 300, a browser a thousand.
pub const METRICS_HEAD_BYTES_MAX: usize = 8 << 10;

/// How long a request for a page may take to come, from its first byte on, or from the connection on for the first one, in
/// nanoseconds: it is one packet.
pub const METRICS_REQUEST_NS: u64 = 5_000_000_000;

/// How long a connection may stay without a request after one, in nanoseconds: twice the longest interval at which
/// Prometheus scrapes by default, so that its connection stands.
pub const METRICS_IDLE_NS: u64 = 120_000_000_000;

/// How long a response may take to be read, in nanoseconds: the time after which Prometheus gives a scrape up by default.
pub const METRICS_RESPONSE_NS: u64 = 10_000_000_000;

/// How long whoever holds the line may take to answer a request, in nanoseconds: a hundred times the interval at which it
/// looks. Then the answer is 503.
pub const METRICS_ANSWER_NS: u64 = 2_000_000_000;

/// How long a push of metrics to a collector may take, from the connection to the status, in nanoseconds. What is due meanwhile
/// is not sent, and counted.
pub const OTLP_PUSH_NS: u64 = 5_000_000_000;

/// Shortest time between two pushes that a run may set, in nanoseconds: five looks at the line.
pub const OTLP_EVERY_NS_MIN: u64 = 100_000_000;

/// Time between two pushes unless told otherwise, in nanoseconds: what collectors take as usual is some times longer.
pub const OTLP_EVERY_NS_DEFAULT: u64 = 10_000_000_000;

/// Events that a channel of the edge keeps for those who come back, unless told otherwise: a minute of a busy one.
pub const EDGE_LOG_EVENTS_DEFAULT: usize = 1_000;

/// Bytes of them, unless told otherwise: as much as one client may have waiting.
pub const EDGE_LOG_BYTES_DEFAULT: usize = 1 << 20;

/// Keys of a state channel, unless told otherwise: all nodes and hops of the largest line, and what a program adds.
pub const EDGE_KEYS_DEFAULT: usize = 1_024;

/// Longest value of an event, in bytes: as long as what a client may send.
pub const EDGE_EVENT_BYTES_MAX: usize = 64 << 10;

/// Longest key of a state channel, in bytes: two names of nodes and an arrow, or a path.
pub const EDGE_KEY_BYTES_MAX: usize = 256;

/// Channels of an edge: one for each hop of the largest line, and what a program adds.
pub const EDGE_HUB_CHANNELS_MAX: usize = 4_096;

/// From how many events behind a client gets only the newest of each key: a person would not have seen the others.
pub const EDGE_CONFLATE_FROM: u64 = 100;

/// Messages of its own that may wait for a client (answers, heartbeats): beyond, it does not read.
pub const EDGE_OWN_MESSAGES_MAX: usize = 1_000;

/// Bytes of them.
pub const EDGE_OWN_BYTES_MAX: usize = 1 << 20;

/// When critical events that are not acknowledged are sent again, in nanoseconds from the first time.
pub const EDGE_RESEND_NS: [u64; 3] = [500_000_000, 1_000_000_000, 2_000_000_000];

/// Time between two heartbeats of the edge, in nanoseconds: what proxies leave open is half a minute and more.
pub const EDGE_HEARTBEAT_NS: u64 = 15_000_000_000;

/// Heartbeats that a client may miss.
pub const EDGE_HEARTBEAT_MISSES: u32 = 3;

/// How long a client may take to say what it wants, in nanoseconds.
pub const EDGE_HELLO_NS: u64 = 10_000_000_000;

/// How long a client may take to answer a close, or to take the last bytes, in nanoseconds.
pub const EDGE_CLOSE_NS: u64 = 5_000_000_000;

/// Messages a second that a client may send.
pub const EDGE_CLIENT_RATE_PER_S: u64 = 100;

/// Messages that it may send at once.
pub const EDGE_CLIENT_BURST: u64 = 200;

/// How long one that sends more is not read, in nanoseconds: ten messages' time.
pub const EDGE_THROTTLE_NS: u64 = 100_000_000;

/// How long it may keep that up, in nanoseconds.
pub const EDGE_FLOOD_NS: u64 = 10_000_000_000;

/// Clients of the edge, unless told otherwise: a page in each of a company's browsers. 10,000 of them take some 160 MB.
pub const EDGE_CLIENTS_DEFAULT: usize = 10_000;

/// Clients of one address, unless told otherwise: some browsers with some pages each.
pub const EDGE_PER_ADDRESS_DEFAULT: usize = 256;

/// New clients a second, unless told otherwise, where the line has all of its headroom: a handshake and a snapshot take some
/// 100 us, so that this is a tenth of a core.
pub const EDGE_CONNECTS_PER_S: u64 = 1_000;

/// New clients a second where it has none: somebody has to be able to look.
pub const EDGE_CONNECTS_MIN_PER_S: u64 = 20;

/// Shortest time after which a client that was refused comes back, in nanoseconds: by then those who were cut at the same time
/// have made their first attempt, each by a wait of its own.
pub const EDGE_RETRY_NS_MIN: u64 = 500_000_000;

/// How late a client that was told when to come may come and is let in all the same, in nanoseconds: a second for which
/// `Retry-After` has no words, and one for a machine that is busy with the others.
pub const EDGE_LATE_NS: u64 = 2_000_000_000;

/// Longest such time, in nanoseconds: a minute.
pub const EDGE_RETRY_NS_MAX: u64 = 60_000_000_000;

/// Largest head of a request to the edge, in bytes: a browser's with its cookies.
pub const EDGE_HEAD_BYTES_MAX: usize = 16 << 10;

/// Largest body of a request to the edge, in bytes. Nothing takes one: it is read so that whoever sends it is told what is wrong
/// with the method or the place, and not with the body.
pub const EDGE_BODY_BYTES_MAX: usize = 4 << 10;

/// Bytes that wait for a client's socket: what one write takes. Messages that are larger leave by themselves.
pub const EDGE_OUTPUT_BYTES: usize = 16 << 10;

/// Bytes that a client may send ahead of a response: one read.
pub const EDGE_UNREAD_BYTES_MAX: usize = 16 << 10;

/// Bytes read at once.
pub const EDGE_READ_BYTES: usize = 16 << 10;

/// Bytes that a client's socket holds and has not sent (`TCP_NOTSENT_LOWAT`): one write. Without it a client that reads nothing
/// swallows megabytes before anybody notices.
pub const EDGE_NOTSENT_BYTES: usize = 16 << 10;

/// Reads from one client before the others have theirs.
pub const EDGE_READS_PER_TURN: usize = 8;

/// Writes to one client before the others have theirs.
pub const EDGE_WRITES_PER_TURN: usize = 8;

/// Connections at a time that are told why they are not let in; those beyond are closed. As many as Linux lets wait for a
/// listener (`net.core.somaxconn`).
pub const EDGE_REFUSED_MAX: usize = 4_096;

/// How long what a client still sends is read and thrown away behind the last words to it, in nanoseconds.
pub const EDGE_LINGER_NS: u64 = 1_000_000_000;

/// How long events of state and streams are gathered for a client, in milliseconds: what a person sees as at once.
pub const EDGE_DEBOUNCE_MS: u64 = 20;

/// What whoever holds a line may have told its edge and it has not heard yet: looks at the line come fifty times a second, and
/// the thread takes them within microseconds.
pub const EDGE_TELL_MAX: usize = 256;

/// Time between two looks at a line's figures for those who follow it, in nanoseconds: what an eye takes for motion is enough
/// for states, which are looked at more often.
pub const EDGE_FIGURES_NS: u64 = 250_000_000;

/// Longest name of a node or line, in bytes: the table has columns.
pub const NAME_BYTES_MAX: usize = 48;

/// Largest message that a client of the edge may send, in bytes: a hello with the longest token and a position in each of
/// [`EDGE_CHANNELS_MAX`] channels of the longest names.
pub const EDGE_MESSAGE_BYTES_MAX: usize = 64 << 10;

/// Most channels that a client of the edge may follow: the four of a line, and those of thirty more.
pub const EDGE_CHANNELS_MAX: usize = 128;

/// Longest part of a channel's name, in bytes: a hop, written `node.port->node#class`, may be one.
pub const EDGE_NAME_BYTES_MAX: usize = 4 * NAME_BYTES_MAX + 4;

/// Longest token that a client of the edge may show, in bytes: those that carry claims have one or two KiB.
pub const EDGE_TOKEN_BYTES_MAX: usize = 4 << 10;

/// Longest name of a session of the edge, in bytes: that of a random one has 32.
pub const EDGE_SID_BYTES_MAX: usize = 64;

/// Longest piece of prose in an event of the edge, in bytes: some sentences. What is longer is cut off.
pub const EDGE_PROSE_BYTES_MAX: usize = 1024;

/// Most events a second that a client may ask for: more than any hop emits.
pub const EDGE_RATE_MAX: u32 = 1_000_000;

/// Longest budget that a client may give an event on its way, in milliseconds: with what is older than a minute nobody
/// follows a line.
pub const EDGE_BUDGET_MS_MAX: u32 = 60_000;

/// Largest whole number in what the edge sends and takes: the largest that a client whose numbers are all of 64-bit floating
/// point tells from its neighbours (ECMA-262, `Number.MAX_SAFE_INTEGER`).
pub const EDGE_INTEGER_MAX: u64 = (1 << 53) - 1;

/// Largest file of a case (`line.toml`, `load.toml`, `budget.toml`), in bytes.
pub const CONFIG_BYTES_MAX: usize = 1 << 20;

const _: () = assert!(PAYLOAD_BYTES == 96);
const _: () = assert!(DEPTH_MAX.is_power_of_two() && DEPTH_MIN.is_power_of_two());
const _: () = assert!(DEPTH_DEFAULT.is_power_of_two() && DEPTH_DEFAULT <= DEPTH_MAX);
const _: () = assert!(ARENA_BYTES_MAX.is_power_of_two() && ARENA_BYTES_MIN.is_power_of_two());
const _: () = assert!(
    ARENA_BYTES_MAX <= u32::MAX as usize && AHEAD_BYTES_MAX.is_multiple_of(CACHE_LINE_BYTES)
);
const _: () = assert!(FRAGMENTS_MAX <= DEPTH_DEFAULT);
const _: () =
    assert!(CONFLATE_KEYS_DEFAULT <= CONFLATE_KEYS_MAX && CLASSES_MAX <= HOPS_PER_NODE_MAX);
const _: () = assert!(DROPS_PER_TURN_MAX > FRAGMENTS_MAX);
const _: () = assert!(OVERFLOW_DEPTH.is_power_of_two() && OVERFLOW_DEPTH >= 2 * FRAGMENTS_MAX);
const _: () = assert!(OVERFLOW_FILE_BYTES_MIN <= OVERFLOW_FILE_BYTES_DEFAULT);
const _: () = assert!(OVERFLOW_FILE_BYTES_DEFAULT <= OVERFLOW_FILE_BYTES_MAX);
const _: () = assert!(BATCH_FRAMES <= BATCH_FRAMES_MAX && GUARD_TURNS <= GUARD_TURNS_MAX);
// A set of nodes is a word of bits.
const _: () = assert!(NODES_MAX <= u64::BITS as usize);
const _: () = assert!(ROUND_NS < HOUSEKEEPING_NS);
const _: () = assert!(LINE_BYTES_MAX > MESSAGE_BYTES_MAX);
const _: () = assert!(METRIC_KEY_BYTES_DEFAULT <= METRIC_KEY_BYTES_MAX);
const _: () =
    assert!(METRIC_KEYS_DEFAULT <= METRIC_KEYS_MAX && METRIC_SETS_DEFAULT <= METRIC_SETS_MAX);
const _: () = assert!(METRIC_HISTOGRAMS_DEFAULT <= METRIC_HISTOGRAMS_MAX);
const _: () = assert!(METRIC_SET_MEMBERS_DEFAULT <= METRIC_SET_MEMBERS_MAX);
// Lengths of a key's parts and places of its tags are 16-bit numbers.
const _: () = assert!(METRIC_KEY_BYTES_MAX <= u16::MAX as usize);
const _: () = assert!(METRIC_WINDOW_NS_MIN >= HOUSEKEEPING_NS);
const _: () = assert!(CONNECTIONS_DEFAULT <= CONNECTIONS_MAX && CONNECTIONS_MAX < 1 << 16);
const _: () = assert!(STREAMS_DEFAULT <= STREAMS_MAX && STREAMS_MAX <= 1 << 16);
const _: () = assert!(STREAM_MESSAGE_BYTES_DEFAULT <= MESSAGE_BYTES_MAX);
const _: () = assert!(MESSAGE_BYTES_MAX <= WEBSOCKET_READ_BYTES_DEFAULT);
const _: () = assert!(WEBSOCKET_READ_BYTES_DEFAULT <= WEBSOCKET_READ_BYTES_MAX);
const _: () = assert!(RECONNECT_NS_MIN < RECONNECT_NS_MAX && RECONNECT_NS_MAX < DRAIN_DEADLINE_NS);
const _: () = assert!(HALF_CLOSED_NS < DRAIN_DEADLINE_NS && STALLED_CLIENT_NS < DRAIN_DEADLINE_NS);
const _: () = assert!(HIST_MAX_NS > u32::MAX as u64);
const _: () = assert!(PARK_MIN_NS < PARK_MAX_NS && PARK_MAX_NS < IDLE_SPAN_MAX_NS);
const _: () = assert!(HOUSEKEEPING_NS < PARK_MAX_NS && PARK_MAX_NS < DRAIN_DEADLINE_NS);
const _: () = assert!(GIVE_UP_GRACE_NS < DRAIN_DEADLINE_NS && PARK_MAX_NS < STALL_NS);
const _: () = assert!(LIVE_NS > PARK_MAX_NS + HOUSEKEEPING_NS && LIVE_NS < STALL_NS);
const _: () = assert!(REQUESTS_PER_CHORE <= REQUESTS_DEPTH && REQUESTS_DEPTH >= NODES_MAX);
// Beside its name a channel of a hello is `{"ch":"","since":"0123456789abcdef:9007199254740991"},`.
const _: () = assert!(
    EDGE_CHANNELS_MAX * (2 * EDGE_NAME_BYTES_MAX + 1 + 54) + EDGE_TOKEN_BYTES_MAX
        < EDGE_MESSAGE_BYTES_MAX
);
const _: () = assert!(COMPLAINT_BURST as usize * 4 <= COMPLAINTS_DEPTH);
const _: () = assert!(SHED_QUIET_NS > HOUSEKEEPING_NS && SHED_QUIET_NS > PARK_MAX_NS);
const _: () = assert!(CLAIM_OPEN_NS > PARK_MAX_NS && CLAIM_OPEN_NS < DRAIN_DEADLINE_NS);
const _: () = assert!(METRICS_ANSWER_NS > LIVE_NS && METRICS_ANSWER_NS < METRICS_RESPONSE_NS);
const _: () =
    assert!(METRICS_REQUEST_NS < METRICS_IDLE_NS && METRICS_RESPONSE_NS < METRICS_IDLE_NS);
const _: () = assert!(QUARANTINE_DEPTH.is_power_of_two() && QUARANTINE_DEPTH < QUARANTINE_KEPT);
const _: () = assert!(PANICS_DEFAULT < PANICS_MAX && RESTARTS_DEFAULT < PANICS_DEFAULT);
const _: () = assert!(RESTART_NS_MAX_DEFAULT < DRAIN_DEADLINE_NS);
const _: () = assert!(RESTART_NS_MIN < RESTART_NS_DEFAULT && RESTART_NS_DEFAULT < RESTART_NS_MAX);
const _: () = assert!(HOPS_MAX >= NODES_MAX && HOPS_PER_NODE_MAX < HOPS_MAX);
// A set of readers is a word of bits; a node's outputs may all be readers of one ring.
const _: () = assert!(READERS_MAX <= u32::BITS as usize && READERS_MAX == HOPS_PER_NODE_MAX);
