//! The echo gives back what it gets, whatever the driver under it does to bytes, and keeps its bounds
//! whatever its clients do.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use hopline::base::Prng;
use hopline::base::primitive::{Arc, AtomicBool, Ordering};
use hopline::clock::Clock;
use hopline::io::{
    Driver, Endpoint, FaultPlan, Faulty, StreamId, StreamRead, StreamSpec, StreamWrite, Virtual,
    VirtualNet,
};
use hopline::wire::Output;
use hopline::wire::websocket::{Event, Limits, Opening, Role, SendError, WebSocket};
use hopline_harness::web_echo::{Echo, EchoSpec, HOT_MAX, Rest};

const SECOND_NS: u64 = 1_000_000_000;

/// Turns after which what was to come must have come.
const PATIENCE_TURNS: usize = 200_000;

/// A driver with an echo, and clients on the same driver.
struct Rig {
    name: &'static str,
    driver: Driver,
    echo: Echo,
    now_ns: u64,
}

fn spec(message_bytes_max: usize) -> EchoSpec {
    EchoSpec {
        message_bytes_max,
        ..EchoSpec::at("127.0.0.1:0".parse().unwrap())
    }
}

fn opening() -> Opening {
    Opening::new("echo", "/").unwrap()
}

impl Rig {
    fn new(name: &'static str, driver: impl Into<Driver>, spec: EchoSpec) -> Rig {
        let mut driver = driver.into();
        let echo = Echo::open(spec, &mut driver).unwrap();
        let now_ns = 0;
        Rig {
            name,
            driver,
            echo,
            now_ns,
        }
    }

    fn turn(&mut self) {
        self.now_ns += 1_000;
        self.echo.turn(&mut self.driver, self.now_ns).unwrap();
    }

    fn connect(&mut self) -> StreamId {
        let at = self.echo.endpoint(&self.driver).unwrap();
        let id = self.driver.stream_connect(&StreamSpec::at(at)).unwrap();
        for _ in 0..PATIENCE_TURNS {
            if self.driver.stream_connected(id).unwrap() {
                return id;
            }
            self.turn();
        }
        panic!("{}: no connection", self.name);
    }

    /// Writes all of it, with the echo at work meanwhile.
    fn write(&mut self, id: StreamId, mut bytes: &[u8]) {
        for _ in 0..PATIENCE_TURNS {
            if bytes.is_empty() {
                return;
            }
            match self.driver.stream_write(id, bytes).unwrap() {
                StreamWrite::Bytes(count) => bytes = &bytes[count..],
                StreamWrite::WouldBlock => self.turn(),
                StreamWrite::Broken => panic!("{}: broken", self.name),
            }
        }
        panic!("{}: {} bytes are not taken", self.name, bytes.len());
    }

    /// The next bytes that come; none at the end.
    fn read(&mut self, id: StreamId) -> Vec<u8> {
        let mut buffer = vec![0; 64 << 10];
        for _ in 0..PATIENCE_TURNS {
            match self.driver.stream_read(id, &mut buffer).unwrap() {
                StreamRead::Bytes(count) => return buffer[..count].to_vec(),
                StreamRead::WouldBlock => self.turn(),
                StreamRead::End | StreamRead::Reset => return Vec::new(),
            }
        }
        panic!("{}: nothing comes", self.name);
    }

    /// A client behind its handshake, with limits of its own.
    fn client(&mut self) -> Client {
        let id = self.connect();
        let mut output = Output::new(4096);
        opening().write(&mut output, [7; 16]).unwrap();
        self.write(id, output.pending());
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.extend(self.read(id));
        }
        assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", self.name);
        let limits = Limits {
            message_bytes_max: 1 << 20,
            output_bytes_max: 4 << 20,
        };
        Client {
            id,
            socket: WebSocket::new(Role::Client, limits),
        }
    }
}

struct Client {
    id: StreamId,
    socket: WebSocket,
}

/// A message as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Came {
    Text(String),
    Binary(Vec<u8>),
    Close(Option<u16>),
}

impl Client {
    fn send(&mut self, message: &Came) -> Result<(), SendError> {
        match message {
            Came::Text(text) => self.socket.send_text(text),
            Came::Binary(bytes) => self.socket.send_binary(bytes),
            Came::Close(_) => panic!("a close is no message"),
        }
    }

    fn flush(&mut self, rig: &mut Rig) {
        rig.write(self.id, self.socket.output());
        self.socket.written(usize::MAX);
    }

    /// Reads until so many messages, or the end, have come.
    fn receive(&mut self, rig: &mut Rig, count: usize) -> Vec<Came> {
        let mut came = Vec::new();
        while came.len() < count {
            let piece = rig.read(self.id);
            if piece.is_empty() {
                break;
            }
            let mut input = &piece[..];
            while let Some(event) = self.socket.poll(&mut input) {
                match event {
                    Event::Text(text) => came.push(Came::Text(text.to_owned())),
                    Event::Binary(bytes) => came.push(Came::Binary(bytes.to_owned())),
                    Event::Close { code, .. } => came.push(Came::Close(code)),
                    Event::Ping(_) | Event::Pong(_) => {}
                    Event::Failed(violation) => panic!("{}: {violation:?}", rig.name),
                }
            }
        }
        came
    }
}

/// Every kind of driver, one that cuts and refuses among them.
fn rigs(message_bytes_max: usize) -> Vec<Rig> {
    let plan = FaultPlan {
        seed: 7,
        stream_short_read_one_in: 5,
        stream_short_write_one_in: 5,
        stream_would_block_one_in: 7,
        ..FaultPlan::default()
    };
    let net = VirtualNet::new();
    net.set_stream_cuts(1_000, 700);
    let spec = || spec(message_bytes_max);
    vec![
        Rig::new("real", Driver::real().unwrap(), spec()),
        Rig::new("virtual", net.driver(), spec()),
        Rig::new(
            "faulty real",
            Faulty::new(Driver::real().unwrap(), plan.clone()),
            spec(),
        ),
        Rig::new(
            "faulty virtual",
            Faulty::new(Virtual::new().into(), plan),
            spec(),
        ),
    ]
}

fn message(prng: &mut Prng, number: usize) -> Came {
    let len = match prng.below(8) {
        0 => 0,
        1 => 125 + prng.below(3) as usize,
        2 => 65_534 + prng.below(4) as usize,
        3 => prng.below(100_000) as usize,
        _ => 1 + prng.below(300) as usize,
    };
    match number % 2 {
        0 => Came::Text("ä€x".repeat(len / 6 + 1)),
        _ => Came::Binary(vec![number as u8; len]),
    }
}

#[test]
fn every_message_comes_back_as_it_went_for_few_clients_and_for_many() {
    for clients in [1, HOT_MAX, HOT_MAX + 1, 20] {
        for mut rig in rigs(1 << 20) {
            let mut prng = Prng::new(clients as u64);
            let mut all: Vec<Client> = (0..clients).map(|_| rig.client()).collect();
            for round in 0..4 {
                let mut sent = Vec::new();
                for client in &mut all {
                    let count = 1 + prng.below(6) as usize;
                    let some: Vec<_> = (0..count).map(|n| message(&mut prng, n)).collect();
                    for one in &some {
                        client.send(one).unwrap();
                    }
                    client.flush(&mut rig);
                    sent.push(some);
                }
                for (client, sent) in all.iter_mut().zip(sent) {
                    let came = client.receive(&mut rig, sent.len());
                    assert!(came == sent, "{}: {clients}, {round}", rig.name);
                }
            }
            // A goodbye is answered, and the end of the connection follows.
            for client in &mut all {
                client.socket.close(1000, "done");
                client.flush(&mut rig);
                let came = client.receive(&mut rig, 2);
                assert_eq!(came, [Came::Close(Some(1000))], "{}", rig.name);
                rig.driver.stream_close(client.id).unwrap();
            }
            for _ in 0..1_000 {
                rig.turn();
            }
            assert_eq!(rig.echo.clients(), 0, "{}", rig.name);
            let counts = rig.echo.counts();
            assert_eq!((counts.opened, counts.failed), (clients as u64, 0));
        }
    }
}

#[test]
fn a_client_that_does_not_read_is_not_read_from_and_loses_nothing() {
    const LEN: usize = 10_000;
    for clients in [1, HOT_MAX + 1] {
        for mut rig in rigs(LEN) {
            let mut all: Vec<Client> = (0..clients).map(|_| rig.client()).collect();
            let mut client = all.swap_remove(0);
            let one = Came::Binary(vec![3; LEN]);
            let (mut sent, mut refused) = (0_usize, 0);
            // Until nothing is taken from it any more.
            while refused < 2_000 {
                if client.socket.output().is_empty() {
                    client.send(&one).unwrap();
                    sent += 1;
                }
                let output = client.socket.output();
                match rig.driver.stream_write(client.id, output).unwrap() {
                    StreamWrite::Bytes(count) => {
                        client.socket.written(count);
                        refused = 0;
                    }
                    StreamWrite::WouldBlock => refused += 1,
                    StreamWrite::Broken => panic!("{}: broken", rig.name),
                }
                rig.turn();
                assert!(sent * LEN < 64 << 20, "{}: it takes all", rig.name);
            }
            // The others are served meanwhile.
            for other in &mut all {
                other.send(&one).unwrap();
                other.flush(&mut rig);
                let came = other.receive(&mut rig, 1);
                assert!(came.len() == 1 && came[0] == one, "{}", rig.name);
            }
            let mut came = Vec::new();
            while came.len() < sent {
                // What could not leave before leaves as there is room again.
                let output = client.socket.output();
                if !output.is_empty()
                    && let Ok(StreamWrite::Bytes(count)) =
                        rig.driver.stream_write(client.id, output)
                {
                    client.socket.written(count);
                }
                let some = client.receive(&mut rig, 1);
                assert!(!some.is_empty(), "{}: it ends", rig.name);
                came.extend(some);
            }
            assert!(came.iter().all(|came| *came == one) && came.len() == sent);
        }
    }
}

#[test]
fn a_message_over_the_limit_and_a_broken_rule_end_a_connection_with_their_codes() {
    for mut rig in rigs(1_000) {
        let mut client = rig.client();
        client.send(&Came::Binary(vec![1; 1_000])).unwrap();
        client.send(&Came::Binary(vec![1; 1_001])).unwrap();
        client.flush(&mut rig);
        let came = client.receive(&mut rig, 3);
        let back = Came::Binary(vec![1; 1_000]);
        assert_eq!(came, [back, Came::Close(Some(1009))], "{}", rig.name);

        // A text that is no text, and more behind it that nobody wants.
        let mut client = rig.client();
        rig.write(client.id, b"\x81\x82\0\0\0\0\xff\xfe");
        rig.write(client.id, &[0x55; 3_000]);
        let came = client.receive(&mut rig, 2);
        assert_eq!(came, [Came::Close(Some(1007))], "{}", rig.name);
        assert_eq!(rig.echo.counts().failed, 2, "{}", rig.name);
    }
}

#[test]
fn what_is_no_handshake_is_answered_and_ended() {
    for mut rig in rigs(1_000) {
        let id = rig.connect();
        rig.write(id, b"GET / HTTP/1.1\r\nHost: echo\r\n\r\n");
        let mut answer = Vec::new();
        loop {
            let piece = rig.read(id);
            if piece.is_empty() {
                break;
            }
            answer.extend(piece);
        }
        assert!(answer.starts_with(b"HTTP/1.1 426 "), "{}", rig.name);
        assert_eq!(rig.echo.counts().refused, 1, "{}", rig.name);
    }
}

#[test]
fn one_that_asks_for_nothing_and_one_that_does_not_agree_to_its_end_have_their_time() {
    for mut rig in rigs(1_000) {
        let silent = rig.connect();
        let mut client = rig.client();
        // Reserved bits.
        rig.write(client.id, b"\xf1\x80\0\0\0\0");
        assert_eq!(client.receive(&mut rig, 1), [Came::Close(Some(1002))]);
        assert_eq!(rig.echo.clients(), 2, "{}", rig.name);
        rig.now_ns += 3 * SECOND_NS;
        rig.turn();
        assert_eq!(rig.echo.clients(), 1, "{}", rig.name);
        rig.now_ns += 8 * SECOND_NS;
        rig.turn();
        assert_eq!(rig.echo.clients(), 0, "{}", rig.name);
        assert_eq!(rig.read(silent), b"", "{}", rig.name);
        assert_eq!(rig.echo.counts().refused, 1, "{}", rig.name);
    }
}

#[test]
fn one_client_more_than_may_be_is_hung_up_on() {
    let few = EchoSpec {
        clients_max: 2,
        ..spec(1_000)
    };
    let mut rig = Rig::new("virtual", Virtual::new(), few);
    let (mut first, _second) = (rig.client(), rig.client());
    let third = rig.connect();
    assert_eq!(rig.read(third), b"");
    assert_eq!(rig.echo.counts().too_many, 1);
    first.socket.close(1000, "");
    first.flush(&mut rig);
    first.receive(&mut rig, 2);
    rig.driver.stream_close(first.id).unwrap();
    for _ in 0..100 {
        rig.turn();
    }
    rig.client();
    assert_eq!(rig.echo.close(&mut rig.driver).opened, 3);
}

#[test]
fn on_a_thread_of_its_own_it_serves_until_it_is_told_to_end() {
    for rest in [Rest::Parks, Rest::Spins] {
        let mut driver = Driver::real().unwrap();
        let mut echo = Echo::open(spec(20 << 20), &mut driver).unwrap();
        let Ok(Endpoint::Tcp(at)) = echo.endpoint(&driver) else {
            panic!("it is TCP");
        };
        let ends = Arc::new(AtomicBool::new(false));
        let told = ends.clone();
        let server = thread::spawn(move || {
            let clock = Clock::os();
            echo.run(&mut driver, &clock, rest, &told).unwrap();
            echo.close(&mut driver)
        });
        let mut stream = TcpStream::connect(at).unwrap();
        let mut output = Output::new(4096);
        opening().write(&mut output, [9; 16]).unwrap();
        stream.write_all(output.pending()).unwrap();
        let mut answer = [0; 1];
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut answer).unwrap();
            head.extend(answer);
        }
        // The longest message that the suites send, masked with zeros.
        let len = 16 << 20;
        let mut frame = vec![0x82, 0xff];
        frame.extend((len as u64).to_be_bytes());
        frame.extend([0; 4]);
        frame.resize(frame.len() + len, 0x5a);
        let mut writer = stream.try_clone().unwrap();
        let writing = thread::spawn(move || writer.write_all(&frame));
        let mut back = vec![0; 10 + len];
        stream.read_exact(&mut back).unwrap();
        writing.join().unwrap().unwrap();
        assert!(back[10..].iter().all(|byte| *byte == 0x5a));
        ends.store(true, Ordering::Relaxed);
        let counts = server.join().unwrap();
        assert_eq!((counts.opened, counts.messages), (1, 1), "{rest:?}");
    }
}
