//! A tool of one's own: the command `hopline` with another kind of stage in it.
//!
//! ```text
//! cargo run --release --example own_stage -- run tick-to-trade --for 2s
//! cargo run --release --example own_stage -- check CASE
//! cargo run --release --example own_stage -- gate CASE --out verdicts
//! ```
//! In the case's line.toml the stage stands by its name, like the ready-made ones:
//! ```toml
//! [[stage]]
//! name = "cheap"
//! kind = "cheap"
//! most = "1000000"
//! [[hop]]
//! from = "book"
//! to = "cheap"
//! [[hop]]
//! from = "cheap"
//! to = "signal"
//! ```

use std::process::ExitCode;

use hopline::base::units::UnitError;
use hopline::feed::Price;
use hopline::frame::View;
use hopline::stage::{Context, Out, Outcome, Port, Stage};
use hopline::stages::Top;
use hopline::topology::{Params, Problem, Registry};
use hopline::{adapter, stages};

hopline::reasons! {
    /// Why a top goes no further.
    enum Why {
        /// The ask is above the limit.
        Dear = "dear",
    }
}

/// Passes tops on whose ask is at most a limit.
struct Cheap {
    most: Price,
}

const OUT: Out<Top> = Out::at(0);

impl Cheap {
    /// Each setting that is asked for is known; any other key in the file is an error with its place.
    fn from_params(params: &mut Params) -> Result<Cheap, Problem> {
        const EXPECTED: &str = "a price as text, such as \"60000\"";
        let most = params.unit("most", EXPECTED, |text| {
            text.parse().map_err(|_| UnitError {
                given: text.to_owned(),
                expected: EXPECTED,
            })
        })?;
        Ok(Cheap {
            most: most.unwrap_or(Price::MAX),
        })
    }
}

impl Stage for Cheap {
    type In = Top;
    type Why = Why;
    const PORTS: &'static [Port] = &[Port::new::<Top>("out")];

    fn on_frame(&mut self, top: View<'_, Top>, cx: &mut Context<'_>) -> Outcome<Why> {
        if top.ask() > self.most {
            return Outcome::absorbed(Why::Dear);
        }
        cx.emit(OUT, &top.to_owned());
        Outcome::done()
    }
}

fn main() -> ExitCode {
    let registry = stages::register(adapter::register(Registry::new()));
    hopline_harness::main(registry.stage("cheap", Cheap::from_params))
}
