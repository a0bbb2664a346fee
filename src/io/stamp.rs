//! Whose receive stamp a datagram gets: the kernel's, or its device's.
//!
//! A device stamps by a clock of its own, and nothing in the stamp says how that clock is kept. The kernel's
//! stamp of the same datagram, on `CLOCK_REALTIME`, is what tells a clock that is kept at the wall clock's
//! time from one on another scale or on none.
//!
//! Invariant: a device's stamp is never given without the kernel's beside it; what is not given is counted.

/// Which of two stamps of one datagram is believed, where the device's are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StampChoice {
    /// Whether the device's is wanted.
    pub(crate) of_device: bool,
    /// How often it was not there, or could not be meant.
    pub(crate) not_by_device: u64,
}

/// Longest way from a device to the kernel that is believed, in nanoseconds: coalesced interrupts and a
/// busy core take milliseconds. A stamp that is further back is of a clock that nobody keeps at the
/// wall clock's time, as one that counts from when it was switched on.
const DEVICE_LEAD_NS_MAX: u64 = 10_000_000;

/// By how much a device's stamp may lie after the kernel's of the same datagram, in nanoseconds: two
/// clocks that are kept together differ by some microseconds at times. One on the scale of TAI is 37 s
/// ahead.
const DEVICE_AHEAD_NS_MAX: u64 = 50_000;

impl StampChoice {
    /// The device's stamp where it can be meant as wall time; else the kernel's, counted.
    #[inline]
    pub(crate) fn of(&mut self, wall_ns: Option<u64>, device_ns: Option<u64>) -> Option<u64> {
        if !self.of_device {
            return wall_ns;
        }
        let believed = device_ns.zip(wall_ns).and_then(|(device_ns, wall_ns)| {
            let earliest_ns = wall_ns.saturating_sub(DEVICE_LEAD_NS_MAX);
            let latest_ns = wall_ns.saturating_add(DEVICE_AHEAD_NS_MAX);
            (earliest_ns..=latest_ns)
                .contains(&device_ns)
                .then_some(device_ns)
        });
        self.not_by_device += u64::from(believed.is_none());
        believed.or(wall_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_believed_only_near_the_kernels_own_stamp() {
        const WALL_NS: u64 = 1_700_000_000_000_000_000;
        let mut choice = StampChoice {
            of_device: true,
            not_by_device: 0,
        };
        for good_ns in [WALL_NS - 10_000_000, WALL_NS - 3_000, WALL_NS + 50_000] {
            assert_eq!(choice.of(Some(WALL_NS), Some(good_ns)), Some(good_ns));
        }
        assert_eq!(choice.not_by_device, 0);
        let tai_ns = WALL_NS + 37_000_000_000;
        let since_boot_ns = 5_000_000_000;
        for wrong_ns in [
            tai_ns,
            since_boot_ns,
            WALL_NS - 10_000_001,
            WALL_NS + 50_001,
        ] {
            let chosen = choice.of(Some(WALL_NS), Some(wrong_ns));
            assert_eq!(chosen, Some(WALL_NS), "{wrong_ns}");
        }
        assert_eq!(choice.of(Some(WALL_NS), None), Some(WALL_NS));
        // Without the kernel's there is nothing to tell sense from nonsense by.
        assert_eq!(choice.of(None, Some(WALL_NS)), None);
        assert_eq!(choice.not_by_device, 6);
        let mut unasked = StampChoice::default();
        assert_eq!(unasked.of(Some(WALL_NS), Some(WALL_NS - 1)), Some(WALL_NS));
        assert_eq!(unasked.not_by_device, 0);
    }
}
