//! What a stage takes in: one kind, a set of kinds, or bytes of any kind.
//!
//! Invariant: the envelope's kind decides how bytes are read; the bytes never do.

use crate::frame::{Frame, FrameError, KindInfo, View};

/// The frames that an input takes: a [`Frame`], a `#[hopline::frame_set]`, or [`Raw`].
pub trait Input: 'static {
    /// What a stage is given of a frame for one turn.
    type View<'a>;

    /// The kinds that the input takes, each once; empty means any kind.
    const KINDS: &'static [KindInfo];

    /// Checks `bytes`, the payload of a frame of kind `kind`, and views them.
    ///
    /// # Errors
    /// [`FrameError::UnknownKind`] if `kind` is none of [`Self::KINDS`]; else as [`Frame::read`].
    fn view(kind: u16, bytes: &[u8]) -> Result<Self::View<'_>, FrameError>;
}

/// That frames of kind `F` are among those of an input: connecting and emitting are checked by it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not carry frames of kind `{F}`",
    note = "connect an input of that kind, or add a variant for it to the `#[hopline::frame_set]`"
)]
pub trait Carries<F: Frame> {}

/// An input whose frames can be had from bytes one by one as what they are: what brings recorded frames back into a line needs.
/// Every frame is one, and `#[hopline::frame_set]` implements it.
pub trait Replayed: Input {
    /// Checks `bytes`, the payload of a frame of kind `kind`, and gives the frame to `to`.
    ///
    /// # Errors
    /// As [`Input::view`]; then `to` has seen nothing.
    fn give(kind: u16, bytes: &[u8], to: &mut impl TakeFrame<Self>) -> Result<(), FrameError>
    where
        Self: Sized;
}

/// What takes the frames of a set one by one.
pub trait TakeFrame<I> {
    /// Takes one.
    fn take<F: Frame>(&mut self, frame: &F)
    where
        I: Carries<F>;
}

impl<T: Frame> Replayed for T {
    #[inline]
    fn give(kind: u16, bytes: &[u8], to: &mut impl TakeFrame<T>) -> Result<(), FrameError> {
        let view = T::view(kind, bytes)?;
        to.take(&view.to_owned());
        Ok(())
    }
}

impl<T: Frame> Input for T {
    type View<'a> = View<'a, T>;
    const KINDS: &'static [KindInfo] = &[KindInfo::of::<T>()];

    #[inline]
    fn view(kind: u16, bytes: &[u8]) -> Result<View<'_, T>, FrameError> {
        if kind != T::SCHEMA {
            return Err(FrameError::UnknownKind(kind));
        }
        View::read(bytes)
    }
}

impl<T: Frame> Carries<T> for T {}

/// The input of a stage that passes frames on without reading them: it takes every kind.
#[derive(Clone, Copy, Debug)]
pub struct Raw;

/// A frame of any kind as unchecked bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawView<'a> {
    /// The kind that the envelope names.
    pub kind: u16,
    /// The payload; nothing of it was checked.
    pub bytes: &'a [u8],
}

impl Input for Raw {
    type View<'a> = RawView<'a>;
    const KINDS: &'static [KindInfo] = &[];

    #[inline]
    fn view(kind: u16, bytes: &[u8]) -> Result<RawView<'_>, FrameError> {
        Ok(RawView { kind, bytes })
    }
}

impl<F: Frame> Carries<F> for Raw {}

#[cfg(test)]
mod tests {
    use super::*;

    // The attributes mean the same inside the library, where feeds and stages use them.
    #[hopline::frame(schema = 7, version = 1)]
    struct Tick {
        at_ns: u64,
    }

    #[hopline::frame_set]
    enum Only {
        Tick(Tick),
    }

    #[test]
    fn an_input_reads_its_kind_only() {
        let bytes = 9_u64.to_le_bytes();
        let mut scratch = crate::frame::Aligned::<8>::new();
        let payload = scratch.copy_from(&bytes).unwrap();
        assert_eq!(Tick::view(7, payload).unwrap().at_ns(), 9);
        let OnlyView::Tick(tick) = Only::view(7, payload).unwrap();
        assert_eq!(tick.to_owned().at_ns, 9);
        for kind in [0, 6, 8, u16::MAX] {
            let unknown = FrameError::UnknownKind(kind);
            assert_eq!(Tick::view(kind, payload).unwrap_err(), unknown);
            assert_eq!(Only::view(kind, payload).unwrap_err(), unknown);
        }
        assert_eq!(Raw::view(8, payload).unwrap().bytes, bytes);
    }

    struct Kinds(Vec<u16>);

    impl TakeFrame<Only> for Kinds {
        fn take<F: Frame>(&mut self, _frame: &F)
        where
            Only: Carries<F>,
        {
            self.0.push(F::SCHEMA);
        }
    }

    #[test]
    fn a_set_gives_its_frames_as_what_they_are() {
        let mut scratch = crate::frame::Aligned::<8>::new();
        let payload = scratch.copy_from(&9_u64.to_le_bytes()).unwrap();
        let mut kinds = Kinds(Vec::new());
        assert_eq!(Only::give(7, payload, &mut kinds), Ok(()));
        assert_eq!(
            Only::give(8, payload, &mut kinds),
            Err(FrameError::UnknownKind(8))
        );
        assert!(Only::give(7, &payload[..4], &mut kinds).is_err());
        assert_eq!(kinds.0, [7]);
    }
}
