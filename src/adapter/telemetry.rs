//! Lines of telemetry as frames: StatsD and DogStatsD, Graphite plaintext, Influx line protocol.
//!
//! A datagram holds any number of lines, a stream ends them; each is a message of its own, decoded, counted
//! and shed by itself. Blank lines, and comments of Influx, count as nothing.
//!
//! Invariant: no line is cut and none is looked at twice; what is refused has the parser's reason.

use crate::base::Reject;
use crate::base::limits::{METRIC_LINE_BYTES_DEFAULT, METRIC_LINE_BYTES_MAX};
use crate::feed::metric::{Framed, Metric, Notice, Telemetry, metric_frames_max};
use crate::feed::statsd::Line;
use crate::feed::{self, Lines};
use crate::stage::{Context, Decode, Decoded, LineEnds, Out, Port, Taken};
use crate::topology::{Params, Problem};

const OUT: Out<Telemetry> = Out::at(0);

/// The format of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Statsd,
    Graphite,
    Influx,
}

/// Decodes lines of telemetry in the source's turn.
#[derive(Clone, Copy, Debug)]
pub struct TelemetryDecoder {
    format: Format,
    bytes_max: usize,
}

/// Lines of StatsD and DogStatsD, of at most 4 KiB.
///
/// ```
/// use hopline::adapter::{statsd, udp};
/// let source = udp("127.0.0.1:8125").decode(statsd());
/// ```
#[must_use]
pub const fn statsd() -> TelemetryDecoder {
    decoder(Format::Statsd)
}

/// Lines of Graphite's plaintext protocol, of at most 4 KiB.
///
/// ```
/// use hopline::adapter::{graphite, tcp};
/// let source = tcp("127.0.0.1:2003").decode(graphite());
/// ```
#[must_use]
pub const fn graphite() -> TelemetryDecoder {
    decoder(Format::Graphite)
}

/// Lines of Influx line protocol, of at most 4 KiB.
///
/// ```
/// use hopline::adapter::{influx, tcp};
/// let source = tcp("127.0.0.1:8094").decode(influx());
/// ```
#[must_use]
pub const fn influx() -> TelemetryDecoder {
    decoder(Format::Influx)
}

const fn decoder(format: Format) -> TelemetryDecoder {
    TelemetryDecoder {
        format,
        bytes_max: METRIC_LINE_BYTES_DEFAULT,
    }
}

impl TelemetryDecoder {
    /// The same for lines of at most that many bytes, and never more than [`METRIC_LINE_BYTES_MAX`]; longer ones are
    /// refused as too long.
    #[must_use]
    pub fn at_most(self, bytes_max: usize) -> TelemetryDecoder {
        TelemetryDecoder {
            bytes_max: bytes_max.min(METRIC_LINE_BYTES_MAX),
            ..self
        }
    }

    /// The same with the setting `max_line`.
    pub(crate) fn from_params(
        decoder: TelemetryDecoder,
        params: &mut Params,
    ) -> Result<TelemetryDecoder, Problem> {
        let unset = METRIC_LINE_BYTES_DEFAULT as u64;
        let most = params.count("max_line", unset, 1..=METRIC_LINE_BYTES_MAX as u64)?;
        Ok(decoder.at_most(most as usize))
    }

    /// The first line of some bytes, and what follows it.
    #[inline]
    fn first_line<'p>(&self, bytes: &'p [u8]) -> Option<(&'p [u8], &'p [u8])> {
        match self.format {
            Format::Statsd | Format::Graphite => {
                let mut lines = Lines::new(bytes);
                lines.next().map(|line| (line, lines.rest()))
            }
            Format::Influx => {
                let mut lines = feed::influx::Lines::new(bytes);
                lines.next().map(|line| (line, lines.rest()))
            }
        }
    }
}

/// Emits a metric.
#[inline]
fn emit(framed: Option<Framed<'_, Metric>>, cx: &mut Context<'_>) -> Result<(), Reject> {
    let framed = framed.ok_or(Reject::TooLong)?;
    cx.emit_with(OUT, &framed.head, framed.parts());
    Ok(())
}

/// Emits an event or a service check.
fn emit_notice(line: &[u8], is_check: bool, cx: &mut Context<'_>) -> Result<(), Reject> {
    let framed = Notice::of(line, is_check).ok_or(Reject::TooLong)?;
    cx.emit_with(OUT, &framed.head, framed.parts());
    Ok(())
}

impl Decode for TelemetryDecoder {
    fn ports(&self) -> &'static [Port] {
        const PORTS: &[Port] = &[Port::new::<Telemetry>("out")];
        PORTS
    }

    fn max_emit(&self) -> usize {
        metric_frames_max(self.bytes_max)
    }

    fn message_bytes_max(&self) -> Option<usize> {
        Some(self.bytes_max)
    }

    fn is_packed(&self) -> bool {
        true
    }

    fn line_ends(&self) -> Option<LineEnds> {
        Some(match self.format {
            Format::Statsd | Format::Graphite => LineEnds::Feed,
            Format::Influx => LineEnds::Quoted,
        })
    }

    #[inline]
    fn decode(&mut self, line: &[u8], cx: &mut Context<'_>) -> Result<Decoded, Reject> {
        if line.len() > self.bytes_max {
            return Err(Reject::TooLong);
        }
        let event_wall_ns = match self.format {
            Format::Statsd => match feed::statsd::parse(line)? {
                Line::Metric(metric) => {
                    emit(Metric::of_statsd(&metric), cx)?;
                    metric.at_ns
                }
                Line::Event(_) => {
                    emit_notice(line, false, cx)?;
                    None
                }
                Line::Check(_) => {
                    emit_notice(line, true, cx)?;
                    None
                }
            },
            Format::Graphite => {
                let point = feed::graphite::parse(line)?;
                emit(Metric::of_graphite(&point), cx)?;
                point.at_ns
            }
            Format::Influx => {
                let point = feed::influx::parse(line)?;
                emit(Metric::of_influx(&point), cx)?;
                point.at_ns.and_then(|ns| u64::try_from(ns).ok())
            }
        };
        Ok(Decoded { event_wall_ns })
    }

    #[inline]
    fn decode_next(&mut self, packet: &[u8], from: usize, cx: &mut Context<'_>) -> Taken {
        let rest = packet.get(from..).unwrap_or(b"");
        let Some((line, rest)) = self.first_line(rest) else {
            return Taken {
                bytes: 0,
                message: None,
                next: None,
            };
        };
        Taken {
            bytes: line.len(),
            message: Some(self.decode(line, cx)),
            next: (!rest.is_empty()).then(|| packet.len() - rest.len()),
        }
    }

    fn messages_left(&self, packet: &[u8], from: usize) -> usize {
        let mut rest = packet.get(from..).unwrap_or(b"");
        let mut lines = 0;
        while let Some((_, behind)) = self.first_line(rest) {
            lines += 1;
            rest = behind;
        }
        lines
    }
}
