//! tokio-tungstenite with tokio's broadcast: a task for each client, on one thread.
//!
//! Invariant: nothing of hopline is in it.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

use futures_util::SinkExt;
use hopline_harness::measure::Spans;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::{Notify, broadcast};
use tokio::task::LocalSet;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, accept_async};

use crate::{PENDING, Run, text};

/// Room in the broadcast: more than a turn has.
const CAPACITY: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Sends,
    Feeds,
}

/// Messages that were sent in this turn, and who waits for the last of them.
#[derive(Default)]
struct Sent {
    count: Cell<u64>,
    all: Cell<u64>,
    done: Notify,
}

impl Sent {
    fn add(&self, count: u64) {
        self.count.set(self.count.get() + count);
        if self.count.get() == self.all.get() {
            self.done.notify_one();
        }
    }
}

/// Each message is sent by itself.
///
/// # Errors
/// In words, what went wrong.
pub fn sending(run: &Run, tell: &mut dyn FnMut(SocketAddr)) -> Result<Spans, String> {
    serve(run, tell, How::Sends)
}

/// What the broadcast has is flushed once.
///
/// # Errors
/// In words, what went wrong.
pub fn feeding(run: &Run, tell: &mut dyn FnMut(SocketAddr)) -> Result<Spans, String> {
    serve(run, tell, How::Feeds)
}

fn serve(run: &Run, tell: &mut dyn FnMut(SocketAddr), how: How) -> Result<Spans, String> {
    let words = |error: std::io::Error| error.to_string();
    let runtime = Builder::new_current_thread().enable_io().build();
    let runtime = runtime.map_err(words)?;
    let local = LocalSet::new();
    let listener = local
        .block_on(&runtime, TcpListener::bind("127.0.0.1:0"))
        .map_err(words)?;
    tell(listener.local_addr().map_err(words)?);
    let (tx, _) = broadcast::channel::<Utf8Bytes>(CAPACITY);
    let sent = Rc::new(Sent::default());
    local.block_on(&runtime, async {
        for _ in 0..run.clients {
            let (stream, _) = listener.accept().await.map_err(words)?;
            stream.set_nodelay(true).map_err(words)?;
            let socket = accept_async(stream).await;
            let socket = socket.map_err(|error| error.to_string())?;
            tokio::task::spawn_local(follow(socket, tx.subscribe(), sent.clone(), how));
        }
        Ok::<(), String>(())
    })?;
    while !run.progress.are_all_in()? {
        hopline::base::primitive::spin_hint();
    }
    run.drive(|numbers| {
        local.block_on(&runtime, async {
            sent.count.set(0);
            sent.all.set(PENDING * run.clients as u64);
            for number in numbers {
                // Who is not there any more is missed by the readers.
                let _ = tx.send(text(number).into());
            }
            sent.done.notified().await;
        });
        Ok(())
    })
}

async fn follow(
    mut socket: WebSocketStream<TcpStream>,
    mut rx: broadcast::Receiver<Utf8Bytes>,
    sent: Rc<Sent>,
    how: How,
) {
    while let Ok(text) = rx.recv().await {
        match how {
            How::Sends => {
                if socket.send(Message::Text(text)).await.is_err() {
                    return;
                }
                sent.add(1);
            }
            How::Feeds => {
                let mut fed = 0;
                let mut next = Some(text);
                while let Some(text) = next {
                    if socket.feed(Message::Text(text)).await.is_err() {
                        return;
                    }
                    fed += 1;
                    next = rx.try_recv().ok();
                }
                if socket.flush().await.is_err() {
                    return;
                }
                sent.add(fed);
            }
        }
    }
}
