//! A WebSocket server that sends back what it gets, on one loop: what conformance suites are run
//! against (`.ci/autobahn`).
//!
//! ```text
//! cargo run --release --example websocket_echo -- [ADDRESS] [--spin]
//! ```
//!
//! It listens at 127.0.0.1:9001 unless told otherwise, says where, and serves until it is ended. With
//! `--spin` it keeps its core.

use std::net::SocketAddr;
use std::process::ExitCode;

use hopline::base::primitive::AtomicBool;
use hopline::clock::Clock;
use hopline::io::{Driver, IoError};
use hopline_harness::web_echo::{Echo, EchoSpec, Rest};

const USAGE: &str = "usage: websocket_echo [ADDRESS] [--spin]";

fn serve(at: SocketAddr, rest: Rest) -> Result<(), IoError> {
    let mut driver = Driver::real()?;
    let mut echo = Echo::open(EchoSpec::at(at), &mut driver)?;
    println!("listens at ws://{}", echo.endpoint(&driver)?);
    let never = AtomicBool::new(false);
    echo.run(&mut driver, &Clock::calibrated(), rest, &never)
}

fn main() -> ExitCode {
    let mut at = SocketAddr::from(([127, 0, 0, 1], 9001));
    let mut rest = Rest::Parks;
    for word in std::env::args().skip(1) {
        match (word.as_str(), word.parse()) {
            ("--spin", _) => rest = Rest::Spins,
            (_, Ok(given)) => at = given,
            _ => {
                eprintln!("{USAGE}");
                return ExitCode::FAILURE;
            }
        }
    }
    match serve(at, rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
