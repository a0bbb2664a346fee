//! What the server takes up meanwhile, where its process is on this machine and its number is known.
//!
//! Invariant: looking costs three small files of `/proc` four times a second.

use hopline::host::ProcessUse;
use serde::Serialize;

/// What a server's process took up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct ServerReport {
    /// Its number.
    pub(crate) pid: u32,
    /// Bytes resident before the load.
    pub(crate) resident_before: u64,
    /// Most bytes that were seen resident.
    pub(crate) resident_max: u64,
    /// Bytes resident at the end.
    pub(crate) resident_after: u64,
    /// Processor time during the load, in nanoseconds, to the kernel's 10 ms.
    pub(crate) cpu_ns: u64,
    /// Whether it was gone at the end.
    pub(crate) is_gone: bool,
}

/// A process that is looked at.
#[derive(Debug)]
pub(super) struct Watched {
    report: ServerReport,
    cpu_before_ns: u64,
}

impl Watched {
    /// Looks at it for the first time; `None` if there is no such process.
    pub(super) fn new(pid: u32) -> Option<Watched> {
        let used = ProcessUse::of(pid)?;
        let resident = used.resident_bytes?;
        Some(Watched {
            report: ServerReport {
                pid,
                resident_before: resident,
                resident_max: resident,
                resident_after: resident,
                ..ServerReport::default()
            },
            cpu_before_ns: used.cpu_ns?,
        })
    }

    pub(super) fn look(&mut self) {
        let Some(used) = ProcessUse::of(self.report.pid) else {
            self.report.is_gone = true;
            return;
        };
        let resident = used.resident_bytes.unwrap_or(0);
        let report = &mut self.report;
        report.resident_after = resident;
        report.resident_max = report.resident_max.max(resident);
        let cpu_ns = used.cpu_ns.unwrap_or(0);
        report.cpu_ns = cpu_ns.saturating_sub(self.cpu_before_ns);
    }

    pub(super) fn report(self) -> ServerReport {
        self.report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_seen_to_grow_and_none_is_seen_where_there_is_none() {
        let mut watched = Watched::new(std::process::id()).unwrap();
        let touched = vec![1_u8; 64 << 20];
        watched.look();
        drop(core::hint::black_box(touched));
        watched.look();
        let report = watched.report();
        assert!(report.resident_max >= report.resident_before + (32 << 20));
        assert!(!report.is_gone && report.resident_after <= report.resident_max);
        assert!(Watched::new(u32::MAX).is_none());
    }
}
