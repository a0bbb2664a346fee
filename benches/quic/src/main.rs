//! What QUIC costs over loopback: a round trip of 64 B by datagrams and by a stream, and messages in bulk.
//!
//! ```text
//! cargo run --release --manifest-path benches/quic/Cargo.toml
//! ```
//!
//! quinn as it comes, one tokio thread an end, encrypted as QUIC always is. The figures stand beside
//! those of `cargo bench --bench stream` in docs/TRANSPORT.md.
//!
//! Invariant: both ends are pinned each to its core, and percentiles are of single round trips.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Instant;

use quinn::{ClientConfig, Connection, Endpoint, ServerConfig};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Payload of a message.
const PAYLOAD_BYTES: usize = 64;
/// Round trips before the measured ones.
const WARM_UP: usize = 1_000;
/// Measured round trips of a round.
const TRIPS: usize = 5_000;
/// Messages of a round in bulk.
const MESSAGES: usize = 200_000;
/// Bytes written at once in bulk.
const BLOCK_BYTES: usize = 16 << 10;
/// Rounds; the median of their percentiles is told with the spread.
const ROUNDS: usize = 9;

fn runtime() -> Outcome<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?)
}

/// Answers datagrams and bidirectional streams with what they carry; a stream in one direction is
/// read to its end and answered with one byte.
async fn serve(connection: Connection) {
    let datagrams = async {
        while let Ok(bytes) = connection.read_datagram().await {
            if connection.send_datagram(bytes).is_err() {
                return;
            }
        }
    };
    let streams = async {
        while let Ok((mut send, mut recv)) = connection.accept_bi().await {
            let mut buf = vec![0; BLOCK_BYTES];
            let mut bulk = false;
            let mut total = 0;
            while let Ok(Some(count)) = recv.read(&mut buf).await {
                // The first byte says whether it is wanted back.
                bulk |= total == 0 && buf[0] == 1;
                total += count;
                if !bulk && send.write_all(&buf[..count]).await.is_err() {
                    return;
                }
            }
            if bulk && send.write_all(&[1]).await.is_err() {
                return;
            }
            let _ = send.finish();
        }
    };
    tokio::join!(datagrams, streams);
}

fn server(config: ServerConfig, ready: mpsc::Sender<SocketAddr>) -> Outcome<()> {
    runtime()?.block_on(async {
        let endpoint = Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into())?;
        ready.send(endpoint.local_addr()?)?;
        if let Some(incoming) = endpoint.accept().await {
            serve(incoming.await?).await;
        }
        Ok(())
    })
}

fn quantile(sorted_ns: &[u64], quantile: f64) -> f64 {
    sorted_ns[((sorted_ns.len() - 1) as f64 * quantile) as usize] as f64 / 1e3
}

fn tell(what: &str, rounds: &mut [Vec<f64>], names: &[&str]) {
    print!("{what:<16}");
    for (values, name) in rounds.iter_mut().zip(names) {
        values.sort_by(f64::total_cmp);
        let (lowest, highest) = (values[0], values[values.len() - 1]);
        let middle = values[values.len() / 2];
        print!("  {name} {middle:.1} ({lowest:.1}-{highest:.1})");
    }
    println!();
}

async fn measure(connection: Connection) -> Outcome<()> {
    let payload = [0; PAYLOAD_BYTES];
    let mut kept = [const { Vec::new() }; 2];
    for _ in 0..ROUNDS {
        let mut spans_ns = Vec::with_capacity(TRIPS);
        for number in 0..WARM_UP + TRIPS {
            let begin = Instant::now();
            connection.send_datagram(payload.to_vec().into())?;
            let answer = connection.read_datagram().await?;
            assert_eq!(answer.len(), PAYLOAD_BYTES);
            if number >= WARM_UP {
                spans_ns.push(begin.elapsed().as_nanos() as u64);
            }
        }
        spans_ns.sort_unstable();
        kept[0].push(quantile(&spans_ns, 0.50));
        kept[1].push(quantile(&spans_ns, 0.99));
    }
    tell("datagram, us", &mut kept, &["p50", "p99"]);

    let mut kept = [const { Vec::new() }; 2];
    let (mut send, mut recv) = connection.open_bi().await?;
    let mut buf = [0; PAYLOAD_BYTES];
    for _ in 0..ROUNDS {
        let mut spans_ns = Vec::with_capacity(TRIPS);
        for number in 0..WARM_UP + TRIPS {
            let begin = Instant::now();
            send.write_all(&payload).await?;
            recv.read_exact(&mut buf).await?;
            if number >= WARM_UP {
                spans_ns.push(begin.elapsed().as_nanos() as u64);
            }
        }
        spans_ns.sort_unstable();
        kept[0].push(quantile(&spans_ns, 0.50));
        kept[1].push(quantile(&spans_ns, 0.99));
    }
    send.finish()?;
    tell("stream, us", &mut kept, &["p50", "p99"]);

    let mut kept = [Vec::new()];
    let block = [1; BLOCK_BYTES];
    for _ in 0..ROUNDS {
        let (mut send, mut recv) = connection.open_bi().await?;
        let begin = Instant::now();
        let mut left = MESSAGES * PAYLOAD_BYTES;
        while left > 0 {
            let now = left.min(BLOCK_BYTES);
            send.write_all(&block[..now]).await?;
            left -= now;
        }
        send.finish()?;
        recv.read_exact(&mut buf[..1]).await?;
        kept[0].push(begin.elapsed().as_nanos() as f64 / MESSAGES as f64);
    }
    tell("bulk, ns/message", &mut kept, &["mean of a round"]);
    Ok(())
}

fn main() -> Outcome<()> {
    let own = rcgen::generate_simple_self_signed(vec!["localhost".into()])?;
    let certificate = CertificateDer::from(own.cert);
    let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
    let server_config = ServerConfig::with_single_cert(vec![certificate.clone()], key.into())?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate)?;
    let client_config = ClientConfig::with_root_certificates(Arc::new(roots))?;

    let (ready, address) = mpsc::channel();
    let serving = thread::spawn(move || {
        core_affinity::set_for_current(core_affinity::CoreId { id: 1 });
        if let Err(error) = server(server_config, ready) {
            eprintln!("server: {error}");
        }
    });
    core_affinity::set_for_current(core_affinity::CoreId { id: 0 });
    let address = address.recv()?;
    runtime()?.block_on(async {
        let mut endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into())?;
        endpoint.set_default_client_config(client_config);
        let connection = endpoint.connect(address, "localhost")?.await?;
        measure(connection.clone()).await?;
        connection.close(0_u32.into(), b"done");
        endpoint.wait_idle().await;
        Outcome::Ok(())
    })?;
    let _ = serving.join();
    Ok(())
}
