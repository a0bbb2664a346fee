//! hopline's own echo, spinning.

use hopline::clock::Clock;
use hopline::io::{Driver, Endpoint};
use hopline_harness::web_echo::{Echo, EchoSpec, Rest};

use crate::Server;

/// Starts it on that core.
///
/// # Errors
/// In words, what did not open.
pub fn start(core: usize, clock: &Clock) -> Result<Server, String> {
    let clock = clock.clone();
    let open = || {
        let mut driver = Driver::real().map_err(|error| error.to_string())?;
        let spec = EchoSpec {
            message_bytes_max: 64 << 10,
            ..EchoSpec::at(([127, 0, 0, 1], 0).into())
        };
        let echo = Echo::open(spec, &mut driver).map_err(|error| error.to_string())?;
        match echo.endpoint(&driver) {
            Ok(Endpoint::Tcp(at)) => Ok(((driver, echo), at)),
            other => Err(format!("it does not listen by TCP: {other:?}")),
        }
    };
    Server::start(core, open, move |(mut driver, mut echo), ends| {
        let served = echo.run(&mut driver, &clock, Rest::Spins, &ends);
        served.map_err(|error| error.to_string())
    })
}
