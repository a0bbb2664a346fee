// The Java Disruptor in the protocol of benches/peers: a round trip over two disruptors, halved.
//
// PingPong WORDS DEPTH TRIPS reads lines from its input. For each it runs TRIPS / 10 trips that are not
// counted and TRIPS that are, and prints "p50 p90 p99" in nanoseconds of half a round trip. All words of
// each event are written and read; the echo sends their sum on.

import com.lmax.disruptor.BatchEventProcessor;
import com.lmax.disruptor.BusySpinWaitStrategy;
import com.lmax.disruptor.EventHandler;
import com.lmax.disruptor.RingBuffer;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.Arrays;
import java.util.Locale;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.CyclicBarrier;

public final class PingPong {
    /** An event with its payload in itself: one long or eight, never behind a reference. */
    static final class Event {
        long a, b, c, d, e, f, g, h;

        void fill(long number, int words) {
            a = number;
            if (words > 1) {
                b = c = d = e = f = g = number;
            }
            if (words > 7) {
                h = number;
            }
        }

        long sum(int words) {
            long sum = a;
            if (words > 1) {
                sum += b + c + d + e + f + g;
            }
            if (words > 7) {
                sum += h;
            }
            return sum;
        }
    }

    static void send(RingBuffer<Event> ring, long number, int words) {
        long next = ring.next();
        ring.get(next).fill(number, words);
        ring.publish(next);
    }

    /** Answers with the sum of what it read. */
    static final class Echo implements EventHandler<Event> {
        private final RingBuffer<Event> back;
        private final int words;

        Echo(RingBuffer<Event> back, int words) {
            this.back = back;
            this.words = words;
        }

        @Override
        public void onEvent(Event event, long sequence, boolean endOfBatch) {
            send(back, event.sum(words), words);
        }
    }

    /** Sends the first item when its thread has begun, and the next one with each answer. */
    static final class Asker implements EventHandler<Event>, com.lmax.disruptor.LifecycleAware {
        private final RingBuffer<Event> there;
        private final CyclicBarrier begin;
        private final CountDownLatch done;
        private final int words;
        private final int warmUp;
        private final long[] spansNs;
        private int trip;
        private long beginNs;
        private long wrong;

        Asker(RingBuffer<Event> there, CyclicBarrier begin, CountDownLatch done, int words, int warmUp, int trips) {
            this.there = there;
            this.begin = begin;
            this.done = done;
            this.words = words;
            this.warmUp = warmUp;
            this.spansNs = new long[trips];
        }

        @Override
        public void onStart() {
            try {
                begin.await();
            } catch (Exception error) {
                throw new IllegalStateException(error);
            }
            beginNs = System.nanoTime();
            send(there, trip, words);
        }

        @Override
        public void onEvent(Event event, long sequence, boolean endOfBatch) {
            long sum = event.sum(words);
            long spanNs = System.nanoTime() - beginNs;
            wrong += sum == (long) trip * words * words ? 0 : 1;
            if (trip >= warmUp) {
                spansNs[trip - warmUp] = spanNs;
            }
            trip++;
            if (trip == warmUp + spansNs.length) {
                done.countDown();
                return;
            }
            beginNs = System.nanoTime();
            send(there, trip, words);
        }

        @Override
        public void onShutdown() {}
    }

    static double half(long[] sorted, double quantile) {
        return sorted[(int) Math.min(sorted.length - 1, quantile * sorted.length)] / 2.0;
    }

    static String round(int words, int depth, int trips) throws Exception {
        RingBuffer<Event> there = RingBuffer.createSingleProducer(Event::new, depth, new BusySpinWaitStrategy());
        RingBuffer<Event> back = RingBuffer.createSingleProducer(Event::new, depth, new BusySpinWaitStrategy());
        CyclicBarrier begin = new CyclicBarrier(2);
        CountDownLatch done = new CountDownLatch(1);
        Asker asker = new Asker(there, begin, done, words, trips / 10, trips);
        BatchEventProcessor<Event> asking = new BatchEventProcessor<>(back, back.newBarrier(), asker);
        BatchEventProcessor<Event> echoing =
                new BatchEventProcessor<>(there, there.newBarrier(), new Echo(back, words));
        there.addGatingSequences(echoing.getSequence());
        back.addGatingSequences(asking.getSequence());
        Thread echo = new Thread(() -> {
            try {
                begin.await();
            } catch (Exception error) {
                throw new IllegalStateException(error);
            }
            echoing.run();
        }, "echo");
        Thread ask = new Thread(asking, "asker");
        echo.start();
        ask.start();
        done.await();
        asking.halt();
        echoing.halt();
        ask.join();
        echo.join();
        if (asker.wrong != 0) {
            throw new IllegalStateException(asker.wrong + " answers were wrong");
        }
        Arrays.sort(asker.spansNs);
        return String.format(Locale.ROOT, "%.1f %.1f %.1f",
                half(asker.spansNs, 0.50), half(asker.spansNs, 0.90), half(asker.spansNs, 0.99));
    }

    public static void main(String[] arguments) throws Exception {
        int words = Integer.parseInt(arguments[0]);
        int depth = Integer.parseInt(arguments[1]);
        int trips = Integer.parseInt(arguments[2]);
        BufferedReader asked = new BufferedReader(new InputStreamReader(System.in));
        while (asked.readLine() != null) {
            System.out.println(round(words, depth, trips));
        }
    }
}
