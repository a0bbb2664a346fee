//! Binding a thread to a core: checked before, verified after.
//!
//! Invariant: no core number reaches `core_affinity` that the process may not use. That crate writes
//! it into a mask of 1024 bits, and a larger one aborts the process.

use core::fmt;
use core::str::FromStr;

use serde::Serialize;

use crate::base::units::UnitError;
use crate::host::allowed_cores;
use crate::host::tree::show_cores;

/// How many core numbers can be pinned to, from 0: the bits of `cpu_set_t`.
pub const PINNABLE_CORES: usize = 1024;

/// How much a pin matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Pin {
    /// Without it the line does not start.
    Require,
    /// Without it the line runs, and the report says why.
    #[default]
    Prefer,
    /// No pin is tried.
    Off,
}

impl Pin {
    /// The name as configurations write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Pin::Require => "require",
            Pin::Prefer => "prefer",
            Pin::Off => "off",
        }
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Pin {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Pin, UnitError> {
        match text.trim() {
            "require" => Ok(Pin::Require),
            "prefer" => Ok(Pin::Prefer),
            "off" => Ok(Pin::Off),
            _ => Err(UnitError {
                given: text.to_owned(),
                expected: "a way to pin: \"require\", \"prefer\" or \"off\"",
            }),
        }
    }
}

/// What came of a pin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pinned {
    /// The core that was asked for.
    pub asked: usize,
    /// The core that the thread is bound to, verified; `None` if it is not bound.
    pub got: Option<usize>,
    /// Why it is not bound.
    pub note: Option<String>,
}

/// Why a thread could not be bound to a core.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PinError {
    /// No core can have this number here.
    #[error(
        "there is no core {core}: numbers are below {PINNABLE_CORES}; allowed are {}",
        show_cores(allowed)
    )]
    NoSuchCore {
        /// The core asked for.
        core: usize,
        /// The cores that this process may use.
        allowed: Vec<usize>,
    },
    /// The core is absent or not this process's to use.
    #[error(
        "core {core} is absent or not allowed for this process; allowed are {}",
        show_cores(allowed)
    )]
    NotAllowed {
        /// The core asked for.
        core: usize,
        /// The cores that this process may use.
        allowed: Vec<usize>,
    },
    /// The system refused, or the thread is not where it was put.
    #[error(
        "the system did not bind the thread to core {core}; allowed are {}",
        show_cores(allowed)
    )]
    Refused {
        /// The core asked for.
        core: usize,
        /// The cores that this process may use.
        allowed: Vec<usize>,
    },
}

/// Binds the calling thread to `core`.
///
/// The core is checked against [`allowed_cores`], which must have been read before any pin, and the
/// result is verified. With [`Pin::Prefer`] a failure is a note, with [`Pin::Off`] nothing is tried.
///
/// # Errors
/// With [`Pin::Require`] only: why the thread is not bound, and which cores are allowed.
pub fn pin(core: usize, how: Pin) -> Result<Pinned, PinError> {
    let unbound = |note: String| Pinned {
        asked: core,
        got: None,
        note: Some(note),
    };
    if how == Pin::Off {
        return Ok(unbound("pinning is off".to_owned()));
    }
    match bind(core) {
        Ok(()) => Ok(Pinned {
            asked: core,
            got: Some(core),
            note: None,
        }),
        Err(error) if how == Pin::Prefer => Ok(unbound(error.to_string())),
        Err(error) => Err(error),
    }
}

fn bind(core: usize) -> Result<(), PinError> {
    let allowed = allowed_cores().to_vec();
    if core >= PINNABLE_CORES {
        return Err(PinError::NoSuchCore { core, allowed });
    }
    if !allowed.contains(&core) {
        return Err(PinError::NotAllowed { core, allowed });
    }
    let accepted = core_affinity::set_for_current(core_affinity::CoreId { id: core });
    if accepted && affinity().is_some_and(|cores| cores == [core]) && is_on(core) {
        Ok(())
    } else {
        Err(PinError::Refused { core, allowed })
    }
}

/// The cores of the calling thread, sorted; `None` where the system does not say.
#[cfg(target_os = "linux")]
pub(crate) fn affinity() -> Option<Vec<usize>> {
    let set = rustix::thread::sched_getaffinity(None).ok()?;
    let bits = rustix::thread::CpuSet::MAX_CPU;
    let cores: Vec<usize> = (0..bits).filter(|&core| set.is_set(core)).collect();
    Some(cores).filter(|cores| !cores.is_empty())
}

#[cfg(target_os = "linux")]
fn is_on(core: usize) -> bool {
    rustix::thread::sched_getcpu() == core
}

/// Elsewhere nothing can be verified, so nothing counts as pinned.
#[cfg(not(target_os = "linux"))]
pub(crate) fn affinity() -> Option<Vec<usize>> {
    None
}

#[cfg(not(target_os = "linux"))]
fn is_on(_core: usize) -> bool {
    false
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// On a thread of its own: a pin stays with the thread.
    fn pin_apart(core: usize, how: Pin) -> (Result<Pinned, PinError>, Vec<usize>) {
        let _read_before_any_pin = allowed_cores();
        let thread = std::thread::spawn(move || (pin(core, how), affinity().unwrap()));
        thread.join().unwrap()
    }

    #[test]
    fn a_pinned_thread_is_where_it_was_put() {
        for &core in allowed_cores() {
            let (pinned, affinity) = pin_apart(core, Pin::Require);
            let pinned = pinned.unwrap();
            assert_eq!((pinned.got, pinned.note), (Some(core), None));
            assert_eq!(affinity, [core]);
        }
    }

    #[test]
    fn after_a_pin_the_allowed_cores_are_still_all_of_them() {
        let before = allowed_cores().to_vec();
        let core = before[0];
        let thread = std::thread::spawn(move || {
            pin(core, Pin::Require).unwrap();
            (allowed_cores().to_vec(), crate::host::Host::read().allowed)
        });
        assert_eq!(thread.join().unwrap(), (before.clone(), before));
    }

    #[test]
    fn a_core_that_is_not_there_is_refused_with_those_that_are() {
        let allowed = allowed_cores().to_vec();
        for core in [PINNABLE_CORES, usize::MAX] {
            let error = pin_apart(core, Pin::Require).0.unwrap_err();
            let allowed = allowed.clone();
            assert_eq!(error, PinError::NoSuchCore { core, allowed });
        }
        let Some(core) = (0..PINNABLE_CORES).find(|core| !allowed.contains(core)) else {
            return;
        };
        let (pinned, _) = pin_apart(core, Pin::Require);
        let error = pinned.unwrap_err().to_string();
        let expected = format!("allowed are {}", show_cores(&allowed));
        assert!(error.contains(&expected), "{error}");
        let (pinned, affinity) = pin_apart(core, Pin::Prefer);
        let pinned = pinned.unwrap();
        assert_eq!((pinned.got, pinned.note), (None, Some(error)));
        assert_eq!(affinity, allowed);
    }

    #[test]
    fn off_leaves_the_thread_alone() {
        let allowed = allowed_cores().to_vec();
        let (pinned, affinity) = pin_apart(usize::MAX, Pin::Off);
        assert_eq!(pinned.unwrap().got, None);
        assert_eq!(affinity, allowed);
    }

    #[test]
    fn names_go_both_ways() {
        for how in [Pin::Require, Pin::Prefer, Pin::Off] {
            assert_eq!(how.to_string().parse(), Ok(how));
        }
        assert!("maybe".parse::<Pin>().is_err());
    }
}
