//! Packets of a giver and of a taker: they are read or refused, each connection has one owner whatever a taker says, and a worker
//! that takes over whatever is offered lets go of everything in the end.
#![no_main]

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use gin_fuzz::{Host, PATIENCE};
use gin_shared::descriptors;
use gin_shared::handover::{Abilities, Carried, FromGiver, FromTaker, Giver, PACKET_MAX, decode, encode};
use gin_worker::websocket::{Received, Socket};
use gin_worker::{Route, Server};
use libfuzzer_sys::fuzz_target;
use tokio::io::AsyncReadExt;

/// Ends a packet in the input.
const END: u8 = 0x1e;

thread_local!(static HOST: OnceCell<Host> = const { OnceCell::new() });

async fn count(mut socket: Socket, mut heard: u64) {
    loop {
        match socket.receive().await {
            Received::Message(_) => heard += 1,
            Received::Leaving => return socket.leave(&heard).await,
            Received::Closed => return,
            _ => {}
        }
    }
}

fn host() -> Host {
    Host::start(|config| {
        let count = Route::websocket("/count", "count", async || 0_u64, count);
        Server::new(config).get("/", || async { "hello" }).route(count)
    })
}

/// A packet, and the number of its descriptors. It is JSON, a NUL and the tail, or bytes as they are.
fn packet(record: &[u8]) -> Option<(usize, Vec<u8>)> {
    let (first, rest) = record.split_first()?;
    let packet = if first & 4 == 0 {
        let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
        let (json, tail) = (&rest[..end], rest.get(end + 1..).unwrap_or_default());
        [&u32::try_from(json.len()).ok()?.to_le_bytes()[..], json, tail].concat()
    } else {
        rest.to_vec()
    };
    (1..=PACKET_MAX).contains(&packet.len()).then_some((usize::from(first & 3), packet))
}

/// Has a giver hear what takers say. Connections are numbers.
fn hear(packets: &[(usize, Vec<u8>)]) {
    let (mut giver, mut next, mut owned) = (Giver::default(), 0_u32, Vec::new());
    for (count, packet) in packets {
        if giver.has_room() {
            let last = next + u32::try_from(*count).expect("a small number");
            giver.offered((next..last).collect());
            next = last;
        }
        let Ok((message, _)) = decode::<FromTaker>(packet) else { continue };
        assert_eq!(decode::<FromTaker>(&encode(&message, b"")).expect("our own").0, message);
        let before = (giver.has_greeted(), giver.abilities());
        let Ok((taken, stay)) = giver.heard(&message) else { break };
        match &message {
            FromTaker::Hello { takes, .. } => assert_eq!(giver.abilities(), Abilities::of(takes)),
            FromTaker::Took { .. } => assert_eq!((giver.has_greeted(), giver.abilities()), before),
        }
        owned.extend(taken.into_iter().chain(stay));
    }
    owned.extend(giver.end());
    assert!(!giver.has_room() && owned.len() == next as usize, "{} of {next} have an owner", owned.len());
    assert_eq!(owned.iter().collect::<BTreeSet<_>>().len(), owned.len(), "one has two owners");
}

/// Sends the packets to a worker that takes over, with a connection for each descriptor.
fn offer(host: &Host, packets: &[(usize, Vec<u8>)]) {
    let _within = host.runtime.enter();
    let link = UnixStream::from(host.hosted.take_over().expect("a socket pair"));
    link.set_nonblocking(true).expect("a socket");
    let (mut clients, mut offered) = (Vec::new(), 0);
    for (count, packet) in packets {
        let pairs: Vec<_> = (0..*count).map(|_| UnixStream::pair().expect("a socket pair")).collect();
        let fds: Vec<BorrowedFd<'_>> = pairs.iter().map(|(_, worker)| worker.as_fd()).collect();
        // The taker may have gone already.
        if descriptors::send(&link, packet, &fds).is_ok() {
            offered += count;
        }
        clients.extend(pairs.into_iter().map(|(client, _)| client));
    }
    link.shutdown(std::net::Shutdown::Write).expect("a socket");
    let taken = host.runtime.block_on(async { tokio::time::timeout(PATIENCE, answers(link)).await });
    let taken = taken.expect("the taker ends");
    assert!(taken <= offered, "{taken} taken of {offered}");
    drop(clients);
    host.all_end();
}

/// Number of connections that the taker says it has taken, until it hangs up.
async fn answers(link: UnixStream) -> usize {
    let mut link = tokio::net::UnixStream::from_std(link).expect("a socket");
    let (mut packet, mut taken) = (vec![0; PACKET_MAX], 0);
    loop {
        match link.read(&mut packet).await {
            Ok(0) | Err(_) => return taken,
            Ok(length) => match decode::<FromTaker>(&packet[..length]).expect("a worker speaks its protocol").0 {
                FromTaker::Hello { .. } => {}
                FromTaker::Took { count, .. } => taken += count,
            },
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let packets: Vec<_> = data.split(|byte| *byte == END).filter_map(packet).take(8).collect();
    for (_, packet) in &packets {
        let Ok((message, _)) = decode::<FromGiver>(packet) else { continue };
        assert_eq!(decode::<FromGiver>(&encode(&message, b"")).expect("our own").0, message);
        let FromGiver::Give { connections, .. } = &message else { continue };
        // What needs nothing new is no connection with keys: a worker of an older build would serve it in cleartext.
        let is_plain = |carried: &&Carried| carried.needs() == Abilities::default();
        assert!(connections.iter().filter(is_plain).all(|carried| carried.tls.is_none() && carried.pending.is_none()));
    }
    hear(&packets);
    HOST.with(|cell| offer(cell.get_or_init(host), &packets));
});
