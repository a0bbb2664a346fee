//! The sides of all symbols: prices in order, each with its shares, in one block of memory.
//!
//! A side lies with its best price last, since that is where most happens: what is put in or taken
//! out there moves nothing else.
//!
//! Invariant: a price stands once; those shown are the best of the side, better than all hidden.

use core::ops::Range;

use crate::base::addresses;

/// A price of a side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// The price, in ten-thousandths.
    pub price: i64,
    /// Shares.
    pub shares: u64,
    /// Orders; 0 where the feed does not tell.
    pub orders: u32,
}

/// The state of one side beside its levels.
#[derive(Clone, Copy, Debug, Default)]
struct Shape {
    len: u16,
    /// Orders (or, where the feed has none, prices) that are hidden; sticky at its maximum.
    hidden: u32,
    /// The best hidden key, while anything is hidden.
    border: i64,
}

/// Both sides of all symbols.
#[derive(Debug)]
pub(super) struct Ladders {
    levels: Box<[Level]>,
    shapes: Box<[Shape]>,
    depth: usize,
}

/// Which side, as an index.
pub(super) const BUY: usize = 0;
/// The other.
pub(super) const SELL: usize = 1;

/// One side of a book as it is shown.
#[derive(Clone, Copy, Debug)]
pub struct Side<'b> {
    levels: &'b [Level],
    is_whole: bool,
}

impl<'b> Side<'b> {
    /// A side of nothing.
    pub(super) const NONE: Side<'static> = Side {
        levels: &[],
        is_whole: true,
    };

    /// The best price.
    #[inline]
    #[must_use]
    pub fn best(&self) -> Option<Level> {
        self.levels.last().copied()
    }

    /// The prices, best first.
    pub fn levels(&self) -> impl ExactSizeIterator<Item = Level> + 'b {
        self.levels.iter().rev().copied()
    }

    /// Whether these are all the prices there are.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Whether there are prices, and the best is not known.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.levels.is_empty() && !self.is_whole
    }
}

/// What a symbol takes, in bytes.
pub(super) const fn bytes_a_symbol(depth: usize) -> usize {
    2 * (depth * size_of::<Level>() + size_of::<Shape>())
}

/// A price as a key that is larger for better prices.
#[inline]
fn key(side: usize, price: i64) -> i64 {
    if side == BUY { price } else { !price }
}

impl Ladders {
    pub(super) fn new(symbols: usize, depth: usize) -> Ladders {
        Ladders {
            levels: vec![Level::default(); symbols * 2 * depth].into_boxed_slice(),
            shapes: vec![Shape::default(); symbols * 2].into_boxed_slice(),
            depth,
        }
    }

    pub(super) fn clear(&mut self) {
        self.shapes.fill(Shape::default());
    }

    /// Where the levels lie.
    pub(super) fn span(&self) -> Range<usize> {
        addresses(&self.levels)
    }

    /// A number that is the same for the same books (FNV-1a over what is shown).
    pub(super) fn hash(&self) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut mix = |word: u64| hash = (hash ^ word).wrapping_mul(0x0100_0000_01b3);
        for (at, shape) in self.shapes.iter().enumerate() {
            mix(u64::from(shape.len) | u64::from(shape.hidden) << 32);
            let start = at * self.depth;
            for level in &self.levels[start..start + usize::from(shape.len)] {
                mix(level.price as u64);
                mix(level.shares);
                mix(u64::from(level.orders));
            }
        }
        hash
    }

    /// A side as it is shown.
    #[inline]
    pub(super) fn side(&self, symbol: usize, side: usize) -> Side<'_> {
        let at = symbol * 2 + side;
        let Some(shape) = self.shapes.get(at) else {
            return Side::NONE;
        };
        let start = at * self.depth;
        Side {
            levels: &self.levels[start..start + usize::from(shape.len)],
            is_whole: shape.hidden == 0,
        }
    }

    /// The levels of a side with all its room, its shape, and where a price is or would be. The
    /// search begins at the best, where most is found within a few steps, and halves what is left after those.
    #[inline]
    fn find(&mut self, at: usize, price: i64) -> (&mut [Level], &mut Shape, Result<usize, usize>) {
        let side = at & 1;
        let start = at * self.depth;
        let levels = &mut self.levels[start..start + self.depth];
        let shape = &mut self.shapes[at];
        let wanted = key(side, price);
        let mut end = usize::from(shape.len);
        for _ in 0..NEAR {
            if end == 0 {
                return (levels, shape, Err(0));
            }
            let here = key(side, levels[end - 1].price);
            if here <= wanted {
                let found = if here == wanted {
                    Ok(end - 1)
                } else {
                    Err(end)
                };
                return (levels, shape, found);
            }
            end -= 1;
        }
        let found = levels[..end].binary_search_by_key(&wanted, |level| key(side, level.price));
        (levels, shape, found)
    }

    /// Puts an order of so many shares at a price; how many orders are hidden by it.
    #[inline]
    pub(super) fn add(&mut self, symbol: usize, side: usize, price: i64, shares: u64) -> u64 {
        let depth = self.depth;
        let (levels, shape, found) = self.find(symbol * 2 + side, price);
        if shape.hidden > 0 && key(side, price) <= shape.border {
            shape.hidden = shape.hidden.saturating_add(1);
            return 1;
        }
        match found {
            Ok(at) => {
                levels[at].shares += shares;
                levels[at].orders += 1;
                0
            }
            Err(at) => {
                let new = Level {
                    price,
                    shares,
                    orders: 1,
                };
                insert(levels, shape, side, depth, at, new)
            }
        }
    }

    /// Takes shares from a price, and the order with them if `is_last`.
    #[inline]
    pub(super) fn reduce(
        &mut self,
        symbol: usize,
        side: usize,
        price: i64,
        shares: u64,
        is_last: bool,
    ) {
        let (levels, shape, found) = self.find(symbol * 2 + side, price);
        let Ok(at) = found else {
            // It is of a hidden price.
            if is_last && shape.hidden < u32::MAX {
                shape.hidden = shape.hidden.saturating_sub(1);
            }
            return;
        };
        let level = &mut levels[at];
        level.shares = level.shares.saturating_sub(shares);
        if is_last {
            level.orders = level.orders.saturating_sub(1);
            if level.orders == 0 {
                remove(levels, shape, at);
            }
        }
    }

    /// Sets the shares at a price, 0 for none; how many prices are hidden by it.
    #[inline]
    pub(super) fn set(&mut self, symbol: usize, side: usize, price: i64, shares: u64) -> u64 {
        let depth = self.depth;
        let (levels, shape, found) = self.find(symbol * 2 + side, price);
        match found {
            Ok(at) if shares == 0 => remove(levels, shape, at),
            Ok(at) => levels[at].shares = shares,
            Err(_) if shares == 0 => {}
            // What is hidden has no count here: which of it is gone again, nobody can say.
            Err(_) if shape.hidden > 0 && key(side, price) <= shape.border => return 1,
            Err(at) => {
                let new = Level {
                    price,
                    shares,
                    orders: 0,
                };
                let hidden = insert(levels, shape, side, depth, at, new);
                if hidden > 0 {
                    shape.hidden = u32::MAX;
                }
                return hidden;
            }
        }
        0
    }
}

/// Steps from the best price before a search by halves: most changes of a book are that near.
const NEAR: usize = 4;

/// Puts a level into its place; if there is no room, the worst is hidden: how many orders, or one
/// price, that is.
#[inline]
fn insert(
    levels: &mut [Level],
    shape: &mut Shape,
    side: usize,
    depth: usize,
    at: usize,
    new: Level,
) -> u64 {
    let len = usize::from(shape.len);
    if len < depth {
        levels.copy_within(at..len, at + 1);
        levels[at] = new;
        shape.len += 1;
        return 0;
    }
    // The worst lies first. Either it gives way or the new one is worse still.
    let worst = if at == 0 { new } else { levels[0] };
    if at > 0 {
        levels.copy_within(1..at, 0);
        levels[at - 1] = new;
    }
    let border = key(side, worst.price);
    shape.border = if shape.hidden == 0 {
        border
    } else {
        shape.border.max(border)
    };
    let hidden = worst.orders.max(1);
    shape.hidden = shape.hidden.saturating_add(hidden);
    u64::from(hidden)
}

#[inline]
fn remove(levels: &mut [Level], shape: &mut Shape, at: usize) {
    let len = usize::from(shape.len);
    levels.copy_within(at + 1..len, at);
    shape.len -= 1;
}
