//! The rivals as links, each in the quickest form that it supports for two spinning threads.
//!
//! Common to all: one thread each side, `try_` forms that are polled (blocking forms sleep, and a sleeper
//! costs 40 us), a capacity of the same power of two, and payloads of whole words in the ring itself.
//! Where a rival can write or read in place it does so from [`IN_PLACE_WORDS`] on; below that a value in
//! registers is quicker than a reference, for hopline as for them.
//!
//! Invariant: each rival writes and reads every word, and nothing is done for it that is not done for hopline.

#![allow(
    unsafe_code,
    reason = "gil's form for batches and for large payloads is an unsafe function"
)]

use std::num::NonZeroUsize;

use hopline_harness::measure::{Link, Rx, Tx, fill, sum};

/// Payloads of so many words are written and read where they lie, where the rival can.
const IN_PLACE_WORDS: usize = 16;

/// A payload of `W` words. Arrays of that length alone have no `Default`, which thingbuf asks for.
#[derive(Clone, Copy, Debug)]
pub struct Words<const W: usize>([u64; W]);

impl<const W: usize> Default for Words<W> {
    fn default() -> Words<W> {
        Words(fill(0))
    }
}

impl<const W: usize> Words<W> {
    #[inline(always)]
    fn of(number: u64) -> Words<W> {
        Words(fill(number))
    }

    #[inline(always)]
    fn sum(&self) -> u64 {
        sum(&self.0)
    }
}

/// Declares a rival: its link, and how both ends are opened.
macro_rules! rival {
    ($(#[$why:meta])* $name:ident, $tx:ty, $rx:ty, |$depth:ident| $open:expr) => {
        $(#[$why])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name<const W: usize> {
            /// Slots.
            pub depth: usize,
        }

        impl<const W: usize> Link for $name<W> {
            type Tx = End<$tx>;
            type Rx = End<$rx>;

            fn words(&self) -> u64 {
                W as u64
            }

            fn open(&self, _round: usize) -> (Self::Tx, Self::Rx) {
                let $depth = self.depth;
                let (tx, rx) = $open;
                (End(tx), End(rx))
            }
        }
    };
}

/// A rival's handle, so that the kit's traits can be given to it.
#[derive(Debug)]
pub struct End<T>(T);

rival!(
    /// omango: a lap number in each slot, as hopline's stamp; `try_send` and `try_recv` spin on nothing.
    Omango,
    omango::queue::spsc::BSender<Words<W>>,
    omango::queue::spsc::BReceiver<Words<W>>,
    |depth| omango::queue::spsc::bounded(depth as u32)
);

impl<const W: usize> Tx for End<omango::queue::spsc::BSender<Words<W>>> {
    #[inline(always)]
    fn send(&mut self, number: u64) -> bool {
        self.0.try_send(Words::of(number)).is_ok()
    }
}

impl<const W: usize> Rx for End<omango::queue::spsc::BReceiver<Words<W>>> {
    #[inline(always)]
    fn take(&mut self) -> Option<u64> {
        Some(self.0.try_recv().ok()?.sum())
    }
}

rival!(
    /// nexus-queue: cached indices, push and pop; it has no batches and no access in place.
    Nexus,
    nexus_queue::spsc::Producer<Words<W>>,
    nexus_queue::spsc::Consumer<Words<W>>,
    |depth| nexus_queue::spsc::ring_buffer(depth)
);

impl<const W: usize> Tx for End<nexus_queue::spsc::Producer<Words<W>>> {
    #[inline(always)]
    fn send(&mut self, number: u64) -> bool {
        self.0.push(Words::of(number)).is_ok()
    }
}

impl<const W: usize> Rx for End<nexus_queue::spsc::Consumer<Words<W>>> {
    #[inline(always)]
    fn take(&mut self) -> Option<u64> {
        Some(self.0.pop()?.sum())
    }
}

rival!(
    /// gil: cached indices; slices of its own memory for batches and large payloads.
    Gil,
    gil::spsc::Sender<Words<W>>,
    gil::spsc::Receiver<Words<W>>,
    |depth| gil::spsc::channel(NonZeroUsize::new(depth).expect("a depth above zero"))
);

impl<const W: usize> Tx for End<gil::spsc::Sender<Words<W>>> {
    #[inline(always)]
    fn send(&mut self, number: u64) -> bool {
        if W < IN_PLACE_WORDS {
            return self.0.try_send(Words::of(number)).is_ok();
        }
        self.send_batch(number, 1) == 1
    }

    #[inline(always)]
    fn send_batch(&mut self, first: u64, count: usize) -> usize {
        let free = self.0.write_buffer();
        let count = count.min(free.len());
        for (slot, number) in free[..count].iter_mut().zip(first..) {
            slot.write(Words::of(number));
        }
        if count > 0 {
            // SAFETY: the first `count` items of the buffer were just written, and it has as many.
            unsafe { self.0.commit(count) };
        }
        count
    }
}

impl<const W: usize> Rx for End<gil::spsc::Receiver<Words<W>>> {
    #[inline(always)]
    fn take(&mut self) -> Option<u64> {
        if W < IN_PLACE_WORDS {
            return Some(self.0.try_recv()?.sum());
        }
        match self.take_batch(1) {
            (0, _) => None,
            (_, sum) => Some(sum),
        }
    }

    #[inline(always)]
    fn take_batch(&mut self, most: usize) -> (usize, u64) {
        let mut ready = self.0.read_guard();
        let count = ready.len().min(most);
        let items = &ready.as_slice()[..count];
        let total = items
            .iter()
            .fold(0, |sum: u64, item| sum.wrapping_add(item.sum()));
        if count > 0 {
            ready.advance(count);
        }
        (count, total)
    }
}

rival!(
    /// rtrb: cached indices; chunks for batches and large payloads.
    Rtrb,
    rtrb::Producer<Words<W>>,
    rtrb::Consumer<Words<W>>,
    |depth| rtrb::RingBuffer::new(depth)
);

impl<const W: usize> Tx for End<rtrb::Producer<Words<W>>> {
    #[inline(always)]
    fn send(&mut self, number: u64) -> bool {
        if W < IN_PLACE_WORDS {
            return self.0.push(Words::of(number)).is_ok();
        }
        self.send_batch(number, 1) == 1
    }

    #[inline(always)]
    fn send_batch(&mut self, first: u64, count: usize) -> usize {
        match self.0.write_chunk_uninit(count) {
            Ok(chunk) => chunk.fill_from_iter((first..).take(count).map(Words::of)),
            Err(_) => 0,
        }
    }
}

impl<const W: usize> Rx for End<rtrb::Consumer<Words<W>>> {
    #[inline(always)]
    fn take(&mut self) -> Option<u64> {
        if W < IN_PLACE_WORDS {
            return Some(self.0.pop().ok()?.sum());
        }
        let chunk = self.0.read_chunk(1).ok()?;
        let total = chunk.as_slices().0[0].sum();
        chunk.commit_all();
        Some(total)
    }

    #[inline(always)]
    fn take_batch(&mut self, most: usize) -> (usize, u64) {
        let count = self.0.slots().min(most);
        let Ok(chunk) = self.0.read_chunk(count) else {
            return (0, 0);
        };
        let (front, back) = chunk.as_slices();
        let items = front.iter().chain(back);
        let total = items.fold(0, |sum: u64, item| sum.wrapping_add(item.sum()));
        chunk.commit_all();
        (count, total)
    }
}

rival!(
    /// ringbuf: its caching handles; iterators for batches.
    Ringbuf,
    ringbuf::HeapProd<Words<W>>,
    ringbuf::HeapCons<Words<W>>,
    |depth| {
        use ringbuf::traits::Split;
        ringbuf::HeapRb::new(depth).split()
    }
);

impl<const W: usize> Tx for End<ringbuf::HeapProd<Words<W>>> {
    #[inline(always)]
    fn send(&mut self, number: u64) -> bool {
        use ringbuf::traits::Producer;
        if W < IN_PLACE_WORDS {
            return self.0.try_push(Words::of(number)).is_ok();
        }
        self.send_batch(number, 1) == 1
    }

    #[inline(always)]
    fn send_batch(&mut self, first: u64, count: usize) -> usize {
        use ringbuf::traits::Producer;
        self.0.push_iter((first..).take(count).map(Words::of))
    }
}

impl<const W: usize> Rx for End<ringbuf::HeapCons<Words<W>>> {
    #[inline(always)]
    fn take(&mut self) -> Option<u64> {
        use ringbuf::traits::Consumer;
        if W < IN_PLACE_WORDS {
            return Some(self.0.try_pop()?.sum());
        }
        let total = self.0.as_slices().0.first()?.sum();
        self.0.skip(1);
        Some(total)
    }

    #[inline(always)]
    fn take_batch(&mut self, most: usize) -> (usize, u64) {
        use ringbuf::traits::Consumer;
        let mut total = 0u64;
        let (front, back) = self.0.as_slices();
        let count = (front.len() + back.len()).min(most);
        for item in front.iter().chain(back).take(count) {
            total = total.wrapping_add(item.sum());
        }
        self.0.skip(count);
        (count, total)
    }
}

type Barrier = disruptor::SingleProducerBarrier;
type DisruptorTx<const W: usize> =
    disruptor::SingleProducer<Words<W>, disruptor::SingleConsumerBarrier>;

rival!(
    /// disruptor: a poller on a thread of ours, as its own documentation advises where the caller
    /// has threads; events are written and read in place. `BusySpin` is its quickest wait.
    Disruptor,
    DisruptorTx<W>,
    disruptor::EventPoller<Words<W>, Barrier>,
    |depth| {
        let builder =
            disruptor::build_single_producer(depth, Words::<W>::default, disruptor::BusySpin);
        let (poller, builder) = builder.new_event_poller();
        (builder.build(), poller)
    }
);

impl<const W: usize> Tx for End<DisruptorTx<W>> {
    #[inline(always)]
    fn send(&mut self, number: u64) -> bool {
        use disruptor::Producer;
        self.0
            .try_publish(|event| *event = Words::of(number))
            .is_ok()
    }

    #[inline(always)]
    fn send_batch(&mut self, first: u64, count: usize) -> usize {
        use disruptor::Producer;
        let sent = self.0.try_batch_publish(count, |events| {
            for (event, number) in events.zip(first..) {
                *event = Words::of(number);
            }
        });
        if sent.is_ok() { count } else { 0 }
    }
}

impl<const W: usize> Rx for End<disruptor::EventPoller<Words<W>, Barrier>> {
    #[inline(always)]
    fn take(&mut self) -> Option<u64> {
        self.take_with(|sum| sum)
    }

    #[inline(always)]
    fn take_with<T>(&mut self, then: impl FnOnce(u64) -> T) -> Option<T> {
        let mut events = self.0.take(1).ok()?;
        let event = (&mut events).next()?;
        Some(then(event.sum()))
    }

    #[inline(always)]
    fn take_batch(&mut self, most: usize) -> (usize, u64) {
        let Ok(mut events) = self.0.take(most as u64) else {
            return (0, 0);
        };
        let mut count = 0;
        let mut total = 0u64;
        for event in &mut events {
            count += 1;
            total = total.wrapping_add(event.sum());
        }
        (count, total)
    }
}

rival!(
    /// crossbeam's ArrayQueue: for many to many; shared by an `Arc`.
    ArrayQueue,
    std::sync::Arc<crossbeam_queue::ArrayQueue<Words<W>>>,
    Taking<std::sync::Arc<crossbeam_queue::ArrayQueue<Words<W>>>>,
    |depth| {
        let queue = std::sync::Arc::new(crossbeam_queue::ArrayQueue::new(depth));
        (queue.clone(), Taking(queue))
    }
);

/// The taking side of a queue whose two sides are of one type.
#[derive(Debug)]
pub struct Taking<T>(T);

impl<const W: usize> Tx for End<std::sync::Arc<crossbeam_queue::ArrayQueue<Words<W>>>> {
    #[inline(always)]
    fn send(&mut self, number: u64) -> bool {
        self.0.push(Words::of(number)).is_ok()
    }
}

impl<const W: usize> Rx for End<Taking<std::sync::Arc<crossbeam_queue::ArrayQueue<Words<W>>>>> {
    #[inline(always)]
    fn take(&mut self) -> Option<u64> {
        Some(self.0.0.pop()?.sum())
    }
}

rival!(
    /// crossbeam's bounded channel, polled.
    CrossbeamChannel,
    crossbeam_channel::Sender<Words<W>>,
    crossbeam_channel::Receiver<Words<W>>,
    |depth| crossbeam_channel::bounded(depth)
);

impl<const W: usize> Tx for End<crossbeam_channel::Sender<Words<W>>> {
    #[inline(always)]
    fn send(&mut self, number: u64) -> bool {
        self.0.try_send(Words::of(number)).is_ok()
    }
}

impl<const W: usize> Rx for End<crossbeam_channel::Receiver<Words<W>>> {
    #[inline(always)]
    fn take(&mut self) -> Option<u64> {
        Some(self.0.try_recv().ok()?.sum())
    }
}

rival!(
    /// thingbuf: its queue without a channel around it; written and read in place.
    Thingbuf,
    std::sync::Arc<thingbuf::ThingBuf<Words<W>>>,
    Taking<std::sync::Arc<thingbuf::ThingBuf<Words<W>>>>,
    |depth| {
        let queue = std::sync::Arc::new(thingbuf::ThingBuf::new(depth));
        (queue.clone(), Taking(queue))
    }
);

impl<const W: usize> Tx for End<std::sync::Arc<thingbuf::ThingBuf<Words<W>>>> {
    #[inline(always)]
    fn send(&mut self, number: u64) -> bool {
        self.0.push_with(|slot| *slot = Words::of(number)).is_ok()
    }
}

impl<const W: usize> Rx for End<Taking<std::sync::Arc<thingbuf::ThingBuf<Words<W>>>>> {
    #[inline(always)]
    fn take(&mut self) -> Option<u64> {
        self.take_with(|sum| sum)
    }

    #[inline(always)]
    fn take_with<T>(&mut self, then: impl FnOnce(u64) -> T) -> Option<T> {
        self.0.0.pop_with(|slot| then(slot.sum()))
    }
}

rival!(
    /// kanal: bounded, polled; the form without the real-time option, which may fail for no reason.
    Kanal,
    kanal::Sender<Words<W>>,
    kanal::Receiver<Words<W>>,
    |depth| kanal::bounded(depth)
);

impl<const W: usize> Tx for End<kanal::Sender<Words<W>>> {
    #[inline(always)]
    fn send(&mut self, number: u64) -> bool {
        matches!(self.0.try_send(Words::of(number)), Ok(true))
    }
}

impl<const W: usize> Rx for End<kanal::Receiver<Words<W>>> {
    #[inline(always)]
    fn take(&mut self) -> Option<u64> {
        Some(self.0.try_recv().ok()??.sum())
    }
}

rival!(
    /// flume: bounded, polled.
    Flume,
    flume::Sender<Words<W>>,
    flume::Receiver<Words<W>>,
    |depth| flume::bounded(depth)
);

impl<const W: usize> Tx for End<flume::Sender<Words<W>>> {
    #[inline(always)]
    fn send(&mut self, number: u64) -> bool {
        self.0.try_send(Words::of(number)).is_ok()
    }
}

impl<const W: usize> Rx for End<flume::Receiver<Words<W>>> {
    #[inline(always)]
    fn take(&mut self) -> Option<u64> {
        Some(self.0.try_recv().ok()?.sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends and takes on one thread, one by one and in batches, several laps.
    fn delivers(link: &impl Link) {
        let words = link.words();
        let (mut tx, mut rx) = link.open(0);
        assert_eq!(rx.take(), None);
        for number in 0..100 {
            assert!(tx.send(number));
            let doubled = rx.take_with(|sum| 2 * sum);
            assert_eq!(doubled, Some(2 * number * words));
        }
        let mut first = 0;
        for count in 1..=16 {
            let sent = tx.send_batch(first, count) as u64;
            // At the end of its memory a rival may offer less than all.
            assert!(sent >= 1);
            let (mut taken, mut total) = (0, 0);
            while taken < sent {
                let (count, sum) = rx.take_batch(4);
                assert!(count >= 1);
                taken += count as u64;
                total += sum;
            }
            assert_eq!(taken, sent);
            assert_eq!(total, (first..first + sent).sum::<u64>() * words);
            assert_eq!(rx.take_batch(4), (0, 0));
            first += sent;
        }
        let full = (0..1_000).take_while(|&number| tx.send(number)).count();
        assert!(full < 1_000, "a rival without a bound");
    }

    fn all<const W: usize>() {
        let depth = 16;
        delivers(&Omango::<W> { depth });
        delivers(&Nexus::<W> { depth });
        delivers(&Gil::<W> { depth });
        delivers(&Rtrb::<W> { depth });
        delivers(&Ringbuf::<W> { depth });
        delivers(&Disruptor::<W> { depth });
        delivers(&ArrayQueue::<W> { depth });
        delivers(&CrossbeamChannel::<W> { depth });
        delivers(&Thingbuf::<W> { depth });
        delivers(&Kanal::<W> { depth });
        delivers(&Flume::<W> { depth });
    }

    #[test]
    fn every_rival_delivers_what_it_was_sent() {
        all::<1>();
        all::<7>();
        all::<32>();
    }
}
