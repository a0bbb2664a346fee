//! The volatile words of a frame, owned by the hop and written into the slot beside the payload.

/// What a hop knows of a frame: 24 bytes that follow the slot's commit word.
///
/// The whole head of a slot is 32 bytes: the commit word (`seq`, owned by the ring) and this.
/// Nothing of it is persistent; the versioned, network-independent header lives in `frame::header`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// When upstream had the frame ready for this hop, in nanoseconds of the line's clock.
    pub t_offer_ns: u64,
    /// Nanoseconds from the intended (or first seen) time up to `t_offer_ns`; saturates at 4.29 s.
    pub origin_ns: u32,
    /// Nanoseconds after `t_offer_ns` at which the frame is worthless; 0 means never. Saturates at 4.29 s.
    pub deadline_ns: u32,
    /// The frame's kind: its schema id.
    pub kind: u16,
    /// Bytes of payload in the slot.
    pub len: u16,
    /// Index of the source in which the frame's message entered the line.
    pub source: u16,
    /// Priority class; 0 is the most important.
    pub class: u8,
    /// Fragment marks.
    pub flags: Flags,
}

/// Marks of an envelope, as bits.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    /// The frame begins a message.
    pub const FIRST: Flags = Flags(1);
    /// The frame ends a message.
    pub const LAST: Flags = Flags(2);
    /// The frame is a whole message.
    pub const WHOLE: Flags = Flags(3);
    /// A fragment in the middle of a message.
    pub const MIDDLE: Flags = Flags(0);

    /// Marks of fragment `at` of a message of `of` fragments.
    ///
    /// ```
    /// use hopline::base::Flags;
    /// assert_eq!(Flags::fragment(0, 1), Flags::WHOLE);
    /// assert_eq!(Flags::fragment(1, 3), Flags::MIDDLE);
    /// assert!(Flags::fragment(2, 3).is_last());
    /// ```
    #[inline]
    #[must_use]
    pub const fn fragment(at: usize, of: usize) -> Flags {
        Flags((at == 0) as u8 | ((at + 1 == of) as u8) << 1)
    }

    /// Whether the frame begins a message.
    #[inline]
    #[must_use]
    pub const fn is_first(self) -> bool {
        self.0 & 1 != 0
    }

    /// Whether the frame ends a message.
    #[inline]
    #[must_use]
    pub const fn is_last(self) -> bool {
        self.0 & 2 != 0
    }

    /// Whether the frame is a whole message by itself.
    #[inline]
    #[must_use]
    pub const fn is_whole(self) -> bool {
        self.0 & 3 == 3
    }
}

impl Envelope {
    /// The intended time of the frame's message, in nanoseconds of the line's clock.
    #[inline]
    #[must_use]
    pub const fn t_intended_ns(&self) -> u64 {
        self.t_offer_ns.saturating_sub(self.origin_ns as u64)
    }
}

/// A span in nanoseconds as an envelope carries it, and whether it had to be cut.
///
/// ```
/// use hopline::base::envelope::saturate_ns;
/// assert_eq!(saturate_ns(7), (7, false));
/// assert_eq!(saturate_ns(5_000_000_000), (u32::MAX, true));
/// ```
#[inline]
#[must_use]
pub const fn saturate_ns(span_ns: u64) -> (u32, bool) {
    if span_ns > u32::MAX as u64 {
        (u32::MAX, true)
    } else {
        (span_ns as u32, false)
    }
}

const _: () = assert!(size_of::<Envelope>() == 24);
const _: () =
    assert!(size_of::<Envelope>() + size_of::<u64>() == crate::base::limits::SLOT_HEAD_BYTES);
