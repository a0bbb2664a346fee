//! hopline's edge, turned by hand: its thread would rest in a poll between two turns.

use std::net::SocketAddr;

use hopline::clock::Clock;
use hopline::edge::{
    Access, AdmissionLimits, ChannelId, ChannelLimits, Edge, EdgeConfig, Epoch, Hub, Kind, Lane,
    Now, Outline, Router, Rules, SessionTimes,
};
use hopline::io::Driver;
use hopline_harness::measure::Spans;

use crate::{Run, value};

/// Bytes of an event before its value's fields: type, channel, offset and time.
const BEFORE_BYTES: usize = 66;

/// All that is pending for a client leaves in one write.
///
/// # Errors
/// In words, what went wrong.
pub fn together(run: &Run, tell: &mut dyn FnMut(SocketAddr)) -> Result<Spans, String> {
    let mut server = Server::open(run)?;
    tell(server.edge.address());
    server.let_in(run)?;
    run.drive(|numbers| {
        numbers.for_each(|number| server.publish(number));
        server.turn()
    })
}

/// A turn for each message.
///
/// # Errors
/// In words, what went wrong.
pub fn one_by_one(run: &Run, tell: &mut dyn FnMut(SocketAddr)) -> Result<Spans, String> {
    let mut server = Server::open(run)?;
    tell(server.edge.address());
    server.let_in(run)?;
    run.drive(|mut numbers| {
        numbers.try_for_each(|number| {
            server.publish(number);
            server.turn()
        })
    })
}

struct Server {
    edge: Edge,
    channel: ChannelId,
    clock: Clock,
}

impl Server {
    fn open(run: &Run) -> Result<Server, String> {
        let mut hub = Hub::new(Epoch(1));
        let limits = ChannelLimits::default();
        let channel = hub.open("ticks/all", Lane::Stream, limits);
        let channel = channel.map_err(|error| error.to_string())?;
        let driver = Driver::real().and_then(|driver| driver.with_streams_max(run.clients + 1));
        let config = EdgeConfig {
            at: ([127, 0, 0, 1], 0).into(),
            rules: Rules {
                router: Router::new(Access::default(), &[]),
                times: SessionTimes::default(),
                token: None,
            },
            admission: AdmissionLimits {
                clients_max: run.clients,
                per_address_max: run.clients,
                rate_per_s: 1_000_000,
            },
            debounce_ns: 0,
            budgets: Default::default(),
        };
        let edge = driver.and_then(|driver| Edge::open(driver, hub, config));
        Ok(Server {
            edge: edge.map_err(|error| error.to_string())?,
            channel,
            clock: run.clock.clone(),
        })
    }

    fn let_in(&mut self, run: &Run) -> Result<(), String> {
        while !run.progress.are_all_in()? || self.edge.hub().all_followers() < run.clients as u64 {
            self.turn()?;
        }
        Ok(())
    }

    fn now(&self) -> Now {
        Now {
            ns: self.clock.stamp(),
            us: self.clock.wall_ns() / 1_000,
        }
    }

    fn publish(&mut self, number: u64) {
        let now = self.now();
        let value = value(number, BEFORE_BYTES);
        let outline = Outline {
            kind: Kind::HopStats,
            key: None,
            value: &value,
            time_ms: now.ms(),
            born_ns: now.ns,
        };
        // What was not published is missed by the readers.
        let _ = self.edge.publish(self.channel, &outline);
    }

    fn turn(&mut self) -> Result<(), String> {
        let polled = self
            .edge
            .driver_mut()
            .poll(self.clock.stamp(), Some(0))
            .map_err(|error| error.to_string());
        polled?;
        let now = self.now();
        self.edge.turn(now);
        Ok(())
    }
}
