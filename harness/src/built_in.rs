//! The cases that are part of the program.
//!
//! Invariant: their files are those of the folder `cases`, word for word.

use crate::case::DEMONSTRATION;

/// A case that is part of the program, so that it runs from any folder.
pub(crate) struct BuiltIn {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) line: &'static str,
    pub(crate) load: &'static str,
    pub(crate) budget: &'static str,
}

/// All of them, in the order in which they are told.
pub(crate) const BUILT_IN: [BuiltIn; 9] = [
    BuiltIn {
        name: DEMONSTRATION,
        about: "two market feeds to orders: decode, book, signal, risk, encode, UDP out",
        line: include_str!("../cases/tick-to-trade/line.toml"),
        load: include_str!("../cases/tick-to-trade/load.toml"),
        budget: include_str!("../cases/tick-to-trade/budget.toml"),
    },
    BuiltIn {
        name: "market-ws",
        about: "the same line fed over WebSocket, by an exchange in the same program",
        line: include_str!("../cases/market-ws/line.toml"),
        load: include_str!("../cases/market-ws/load.toml"),
        budget: include_str!("../cases/market-ws/budget.toml"),
    },
    BuiltIn {
        name: "udp-echo",
        about: "each datagram returns to its sender through two rings and a stage that does nothing",
        line: include_str!("../cases/udp-echo/line.toml"),
        load: include_str!("../cases/udp-echo/load.toml"),
        budget: include_str!("../cases/udp-echo/budget.toml"),
    },
    BuiltIn {
        name: "market-udp",
        about: "two sequenced feeds, ITCH and DEEP, over two lossy UDP lines each, to books",
        line: include_str!("../cases/market-udp/line.toml"),
        load: include_str!("../cases/market-udp/load.toml"),
        budget: include_str!("../cases/market-udp/budget.toml"),
    },
    BuiltIn {
        name: "diamond",
        about: "one ring that two stages read in place, and a third in which they join",
        line: include_str!("../cases/diamond/line.toml"),
        load: include_str!("../cases/diamond/load.toml"),
        budget: include_str!("../cases/diamond/budget.toml"),
    },
    BuiltIn {
        name: "overload",
        about: "the market line with a book that takes 10 us, offered ten times what it can do",
        line: include_str!("../cases/overload/line.toml"),
        load: include_str!("../cases/overload/load.toml"),
        budget: include_str!("../cases/overload/budget.toml"),
    },
    BuiltIn {
        name: "overload-iot",
        about: "telemetry that comes at ten times what the line can do for 5 s in every 20",
        line: include_str!("../cases/overload-iot/line.toml"),
        load: include_str!("../cases/overload-iot/load.toml"),
        budget: include_str!("../cases/overload-iot/budget.toml"),
    },
    BuiltIn {
        name: "telemetry",
        about: "StatsD, Graphite and Influx by UDP, TCP and Unix sockets, summed up by key and window, NDJSON out",
        line: include_str!("../cases/telemetry/line.toml"),
        load: include_str!("../cases/telemetry/load.toml"),
        budget: include_str!("../cases/telemetry/budget.toml"),
    },
    BuiltIn {
        name: "overload-telemetry",
        about: "the telemetry line with sums that take 10 us, offered ten times what they can do",
        line: include_str!("../cases/overload-telemetry/line.toml"),
        load: include_str!("../cases/overload-telemetry/load.toml"),
        budget: include_str!("../cases/overload-telemetry/budget.toml"),
    },
];
