//! Programs that are started and waited for, and stopped when this one is asked to stop.
//!
//! ```text
//!   signals ────────┐
//!   its output ─────┼─→ one bounded queue ─→ run: the output is whole, or a signal came first
//!   its errors ─────┘
//! ```
//!
//! Invariant: one child at a time, and none is left running when a stop is told.

use std::cell::Cell;
use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::exit::{Exit, Failure};
use crate::signals::{self, ended_by};

/// Events that wait: the ends of two pipes, and one signal, which is told once.
const EVENTS: usize = 4;

/// What is kept of standard error, from its end: more than anybody reads of a build that failed.
const ERRORS_BYTES_MAX: usize = 64 << 10;

/// Bytes read at once.
const READ_BYTES: usize = 16 << 10;

/// Why work that starts programs was not done to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Halt {
    /// Something is wrong.
    Failed(Failure),
    /// A signal came; this is how the command ends.
    Stopped(Exit),
}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Halt {
        Halt::Failed(failure)
    }
}

impl Halt {
    /// The same for a command that has nothing to show for the part that it did.
    pub(crate) fn into_failure(self) -> Failure {
        match self {
            Halt::Failed(failure) => failure,
            Halt::Stopped(exit) => Failure {
                exit,
                what: "ended by a signal: nothing was printed".to_owned(),
                help: String::new(),
            },
        }
    }
}

/// What becomes of a child's standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Errors {
    /// It goes where this program's own goes: for the same reader.
    Shown,
    /// Its end is kept, at most [`ERRORS_BYTES_MAX`].
    Kept,
}

/// A child that ended by itself.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// All that it wrote to standard output.
    pub(crate) output: Vec<u8>,
    /// The end of what it wrote to standard error; empty where that was shown.
    pub(crate) errors: Vec<u8>,
}

enum Event {
    Output(io::Result<Vec<u8>>),
    Errors(io::Result<Vec<u8>>),
    Signal(i32),
}

/// Starts children one after the other.
#[derive(Debug)]
pub(crate) struct Children {
    events: Receiver<Event>,
    sender: SyncSender<Event>,
    /// How a signal that came has this command end.
    stopped: Cell<Option<Exit>>,
}

impl Children {
    /// Listens to SIGINT and SIGTERM from now on: the first one stops the child that runs, and all that would follow; a
    /// second one ends this process at once.
    pub(crate) fn watch() -> Result<Children, Failure> {
        let (sender, events) = sync_channel(EVENTS);
        let children = Children::new(sender, events);
        let mut teller = Some(children.sender.clone());
        signals::each(move |signal| {
            if let Some(teller) = teller.take() {
                // The queue has room for it; its reader is gone only when the process ends.
                let _ = teller.try_send(Event::Signal(signal));
            }
        })?;
        Ok(children)
    }

    fn new(sender: SyncSender<Event>, events: Receiver<Event>) -> Children {
        Children {
            events,
            sender,
            stopped: Cell::new(None),
        }
    }

    fn stop(&self, signal: i32) -> Halt {
        let exit = ended_by(signal);
        self.stopped.set(Some(exit));
        Halt::Stopped(exit)
    }

    /// Runs a program to its end. `name` is what errors call it.
    ///
    /// # Errors
    /// It cannot be started, or a signal came: then it was killed.
    pub(crate) fn run(
        &self,
        command: &mut Command,
        name: &str,
        errors: Errors,
    ) -> Result<Ended, Halt> {
        if let Ok(Event::Signal(signal)) = self.events.try_recv() {
            self.stop(signal);
        }
        if let Some(exit) = self.stopped.get() {
            return Err(Halt::Stopped(exit));
        }
        let lost =
            |what: &str, error: &io::Error| Failure::io(format!("{what} {name}: {error}"), "");
        // Held open until it has ended: by its end a run knows that this process is gone, though nobody could tell it.
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(match errors {
            Errors::Shown => Stdio::inherit(),
            Errors::Kept => Stdio::piped(),
        });
        let mut child = command
            .spawn()
            .map_err(|error| lost("cannot start", &error))?;
        let mut open = 0;
        if let Some(pipe) = child.stdout.take() {
            self.read(pipe, usize::MAX, Event::Output, &mut child, name)?;
            open += 1;
        }
        if let Some(pipe) = child.stderr.take() {
            self.read(pipe, ERRORS_BYTES_MAX, Event::Errors, &mut child, name)?;
            open += 1;
        }
        let (mut output, mut kept) = (Vec::new(), Vec::new());
        while open > 0 {
            // This side holds a sender, so the queue is never closed.
            let Ok(event) = self.events.recv() else { break };
            open -= 1;
            match event {
                Event::Output(read) => {
                    output = read.map_err(|error| lost("cannot read from", &error))?;
                }
                Event::Errors(read) => kept = read.unwrap_or_default(),
                Event::Signal(signal) => {
                    end(&mut child);
                    return Err(self.stop(signal));
                }
            }
        }
        let status = child
            .wait()
            .map_err(|error| lost("cannot wait for", &error))?;
        // A terminal tells child and parent at once, and the child may be the first that is gone.
        match status.signal() {
            Some(signal) if [SIGINT, SIGTERM].contains(&signal) => Err(self.stop(signal)),
            _ => Ok(Ended {
                status,
                output,
                errors: kept,
            }),
        }
    }

    /// Reads a pipe to its end on a thread of its own.
    fn read(
        &self,
        pipe: impl Read + Send + 'static,
        most: usize,
        event: fn(io::Result<Vec<u8>>) -> Event,
        child: &mut Child,
        name: &str,
    ) -> Result<(), Failure> {
        let sender = self.sender.clone();
        let reader = std::thread::Builder::new().name("reader".to_owned());
        let started = reader.spawn(move || {
            // Nobody hears it only when the process ends.
            let _ = sender.send(event(tail(pipe, most)));
        });
        started.map(drop).map_err(|error| {
            end(child);
            Failure::io(format!("cannot listen to {name}: {error}"), "")
        })
    }
}

/// Kills a child and waits until it is gone.
fn end(child: &mut Child) {
    // Both fail only if it is gone already.
    let _ = child.kill();
    let _ = child.wait();
}

/// The last `most` bytes of a pipe.
fn tail(mut pipe: impl Read, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut buffer = [0; READ_BYTES];
    loop {
        match pipe.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        // Cut now and then, so that it is bounded and yet not moved for each read.
        if bytes.len() / 2 > most {
            bytes.drain(..bytes.len() - most);
        }
    }
    bytes.drain(..bytes.len().saturating_sub(most));
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn children() -> Children {
        let (sender, events) = sync_channel(EVENTS);
        Children::new(sender, events)
    }

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_child_is_heard_to_its_end() {
        let children = children();
        let ended = children
            .run(
                &mut shell("echo out; echo err >&2; exit 3"),
                "sh",
                Errors::Kept,
            )
            .unwrap();
        assert_eq!(ended.status.code(), Some(3));
        assert_eq!(
            (&*ended.output, &*ended.errors),
            (&b"out\n"[..], &b"err\n"[..])
        );
        let missing = children.run(&mut Command::new("/nowhere/x"), "x", Errors::Shown);
        let Err(Halt::Failed(failure)) = missing else {
            panic!("{missing:?}");
        };
        assert_eq!(failure.exit, Exit::Io);
        assert!(failure.what.starts_with("cannot start x: "), "{failure}");
    }

    #[test]
    fn a_signal_kills_the_child_that_runs_and_starts_no_other() {
        let children = children();
        let teller = children.sender.clone();
        // Told while it runs: it says nothing by itself for an hour.
        let telling = std::thread::spawn(move || teller.send(Event::Signal(SIGTERM)).unwrap());
        let stopped = children.run(&mut shell("exec sleep 3600"), "sh", Errors::Shown);
        telling.join().unwrap();
        assert_eq!(stopped.unwrap_err(), Halt::Stopped(Exit::Terminated));
        // Not even started, or this would be an error: now and when it is told before.
        let told_before = self::children();
        told_before.sender.send(Event::Signal(SIGINT)).unwrap();
        for (children, exit) in [
            (children, Exit::Terminated),
            (told_before, Exit::Interrupted),
        ] {
            for _ in 0..2 {
                let stopped = children.run(&mut Command::new("/nowhere/x"), "x", Errors::Shown);
                assert_eq!(stopped.unwrap_err(), Halt::Stopped(exit));
            }
        }
    }

    #[test]
    fn a_child_that_a_signal_ended_was_stopped_and_not_broken() {
        let run = |script: &str| children().run(&mut shell(script), "sh", Errors::Shown);
        // Not SIGINT: a shell in the background passes on that it ignores that one.
        let stopped = run("kill -TERM $$").unwrap_err();
        assert_eq!(stopped, Halt::Stopped(Exit::Terminated));
        assert_eq!(stopped.into_failure().exit.code(), 143);
        assert_eq!(run("kill -KILL $$").unwrap().status.code(), None);
    }

    #[test]
    fn of_many_errors_the_end_is_kept() {
        let text: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
        let kept = tail(&*text, 1000).unwrap();
        assert_eq!(kept, text[text.len() - 1000..]);
        assert_eq!(tail(&*text, usize::MAX).unwrap(), text);
    }
}
