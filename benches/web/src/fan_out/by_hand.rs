//! What somebody writes who wants nothing between the bytes: the frames of a turn, once, and a write to each socket.
//!
//! Invariant: nothing of hopline is in it but the opening handshake, which is not measured.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use hopline::wire::Output;
use hopline::wire::http::{RequestLimits, Requests};
use hopline::wire::websocket::Offer;
use hopline_harness::measure::Spans;

use crate::{Run, text};

/// Serves all turns.
///
/// # Errors
/// In words, what went wrong.
pub fn serve(run: &Run, tell: &mut dyn FnMut(SocketAddr)) -> Result<Spans, String> {
    let words = |error: std::io::Error| error.to_string();
    let listener = TcpListener::bind("127.0.0.1:0").map_err(words)?;
    tell(listener.local_addr().map_err(words)?);
    let streams = (0..run.clients).map(|_| accept(&listener));
    let mut streams = streams
        .collect::<std::io::Result<Vec<TcpStream>>>()
        .map_err(words)?;
    let mut batch = Vec::new();
    run.drive(|numbers| {
        batch.clear();
        for number in numbers {
            let text = text(number);
            batch.push(0x81);
            batch.push(126);
            batch.extend((text.len() as u16).to_be_bytes());
            batch.extend_from_slice(text.as_bytes());
        }
        for stream in &mut streams {
            // Readers are waited for after each turn, so a socket takes it whole.
            stream.write_all(&batch).map_err(words)?;
        }
        Ok(())
    })
}

fn accept(listener: &TcpListener) -> std::io::Result<TcpStream> {
    let (mut stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    let mut requests = Requests::new(RequestLimits::default());
    let mut answer = Output::new(4096);
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer)?;
        let mut input = &buffer[..count];
        let polled = requests.poll(&mut input).map_err(std::io::Error::other)?;
        if let Some(request) = polled {
            let offer = Offer::of(&request).map_err(std::io::Error::other)?;
            let accepted = offer.accept(&mut answer, None);
            accepted.map_err(std::io::Error::other)?;
            break;
        }
    }
    stream.write_all(answer.pending())?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}
