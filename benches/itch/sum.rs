//! The two sums of the bench `itch`: every field of every message of TotalView-ITCH 5.0, by hopline and by
//! the crate itch5. Numbers, prices and symbols go into one word, for both the same. Codes go into another:
//! hopline gives the byte and leaves its meaning to the reader, itch5 gives an enum, of which the sum takes
//! whether it is a known one, which is the least that reading it can mean.

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) messages: u64,
    pub(crate) numbers: u64,
    pub(crate) codes: u64,
}

macro_rules! add {
    ($sum:expr, [$($number:expr),* $(,)?], [$($code:expr),* $(,)?] $(,)?) => {{
        $sum.messages += 1;
        $sum.numbers = $sum.numbers$(.wrapping_add($number as u64))*;
        $sum.codes = 0_u64$(.wrapping_add($code as u64))*.wrapping_add($sum.codes);
    }};
}
pub(crate) use add;
