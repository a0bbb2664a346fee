//! tokio-tungstenite, on one thread: as its own example echoes, and with a `send` for each message.
//!
//! Invariant: nothing of hopline is in it.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt, TryStreamExt, future};
use hopline::base::primitive::Ordering;
use hopline::clock::Clock;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio_tungstenite::accept_async;

use crate::{Ends, Server};

/// How a connection is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Forwards,
    Sends,
}

/// Starts the server that forwards what it reads, on that core.
///
/// # Errors
/// In words, what did not open.
pub fn start_forwarding(core: usize, _clock: &Clock) -> Result<Server, String> {
    start(core, How::Forwards)
}

/// Starts the server that sends back each message, on that core.
///
/// # Errors
/// In words, what did not open.
pub fn start_sending(core: usize, _clock: &Clock) -> Result<Server, String> {
    start(core, How::Sends)
}

fn start(core: usize, how: How) -> Result<Server, String> {
    Server::start(core, open, move |(runtime, listener), ends| {
        runtime.block_on(serve(listener, how, ends))
    })
}

fn open() -> Result<((Runtime, TcpListener), SocketAddr), String> {
    let open = || {
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let at = listener.local_addr()?;
        Ok(((runtime, listener), at))
    };
    open().map_err(|error: std::io::Error| error.to_string())
}

/// Serves until a connection comes after the flag was raised.
async fn serve(listener: TcpListener, how: How, ends: Ends) -> Result<(), String> {
    loop {
        let (stream, _) = listener.accept().await.map_err(|error| error.to_string())?;
        if ends.load(Ordering::Relaxed) {
            return Ok(());
        }
        tokio::spawn(echo(stream, how));
    }
}

async fn echo(stream: TcpStream, how: How) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let Ok(mut socket) = accept_async(stream).await else {
        return;
    };
    match how {
        How::Forwards => {
            let (write, read) = socket.split();
            let data =
                read.try_filter(|message| future::ready(message.is_text() || message.is_binary()));
            // The end of a connection is an error here and none for the echo.
            let _ = data.forward(write).await;
        }
        How::Sends => {
            while let Some(Ok(message)) = socket.next().await {
                if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err()
                {
                    return;
                }
            }
        }
    }
}
