//! Chunks fill up and are due, and their memory has a bound.

use proptest::prelude::*;

use super::*;

const INTERVAL: Duration = Duration::from_secs(1);

impl Waiting {
    /// Bytes of all buffers, counted one by one. `under_way` is that of the chunk that was taken.
    fn counted(&self, under_way: usize) -> usize {
        let chunks = self.chunks.iter().map(|chunk| &chunk.bytes);
        chunks.chain(&self.spare).map(Vec::capacity).sum::<usize>() + under_way
    }
}

fn taken(next: Next) -> Chunk {
    match next {
        Next::Chunk(chunk) => chunk,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_chunk_waits_for_its_interval() {
    let mut waiting = Waiting::new(INTERVAL, 1 << 20);
    let now = Instant::now();
    assert!(matches!(waiting.take(now), Next::Nothing));
    assert_eq!((waiting.push(b"one"), waiting.push(b"two")), (Pushed::Due, Pushed::Added));
    let Next::At(at) = waiting.take(now) else { panic!("too early") };
    assert!(at >= now + INTERVAL);
    assert_eq!(waiting.count(), (2, 10));
    let chunk = taken(waiting.take(at));
    assert_eq!((&chunk.bytes[..], chunk.spans), (&b"\x12\x03one\x12\x03two"[..], 2));
    assert_eq!(waiting.count(), (2, 10), "those under way are counted, too");
    let capacity = chunk.bytes.capacity();
    assert!(waiting.finish(chunk.bytes, capacity));
    assert_eq!(waiting.count(), (0, 0));
}

#[test]
fn a_full_chunk_is_due_at_once() {
    let mut waiting = Waiting::new(INTERVAL, 1 << 20);
    let now = Instant::now();
    for at in 1..=512 {
        let expected = if at == 1 || at == 512 { Pushed::Due } else { Pushed::Added };
        assert_eq!(waiting.push(b"span"), expected, "{at}");
    }
    assert_eq!(waiting.push(b"513th"), Pushed::Due);
    assert_eq!(taken(waiting.take(now)).spans, 512);
    assert!(matches!(waiting.take(now), Next::At(_)));
}

#[test]
fn bytes_fill_a_chunk_as_well() {
    let mut waiting = Waiting::new(INTERVAL, 4 << 20);
    let long = vec![0_u8; 200 * 1024];
    assert_eq!([(); 3].map(|()| waiting.push(&long)), [Pushed::Due, Pushed::Added, Pushed::Due]);
    assert_eq!(taken(waiting.take(Instant::now())).spans, 2);
    // A longer span than a batch is a batch of its own.
    assert_eq!(waiting.push(&vec![0_u8; CHUNK_MAX + 1]), Pushed::Due);
    assert_eq!(taken(waiting.take(Instant::now())).spans, 1);
}

#[test]
fn an_end_and_haste_make_spans_due() {
    let mut waiting = Waiting::new(INTERVAL, 1 << 20);
    waiting.push(b"one");
    let now = Instant::now();
    waiting.hurry(Duration::from_millis(100));
    assert!(matches!(waiting.take(now), Next::At(at) if at < now + INTERVAL));
    waiting.close();
    assert_eq!(waiting.push(b"late"), Pushed::Dropped);
    assert_eq!(taken(waiting.take(now)).spans, 1);
    assert!(matches!(waiting.take(now), Next::End));
    assert_eq!(waiting.settle(), Settled { lost: 1, is_first: true });
    assert_eq!(waiting.settle(), Settled { lost: 1, is_first: false });
    assert!(!waiting.finish(Vec::new(), 0), "it is counted as lost already");
    assert_eq!((waiting.dropped(), waiting.count()), (1, (0, 0)));
}

#[test]
fn memory_that_is_full_drops_the_newest() {
    let mut waiting = Waiting::new(INTERVAL, 64 * 1024);
    let span = [7; 1000];
    let pushed: Vec<Pushed> = (0..100).map(|_| waiting.push(&span)).collect();
    let kept = pushed.iter().take_while(|pushed| **pushed != Pushed::Dropped).count();
    assert!((60..=65).contains(&kept), "{kept}");
    assert!(pushed[kept..].iter().all(|pushed| *pushed == Pushed::Dropped));
    assert_eq!(waiting.dropped(), 100 - kept as u64);
}

#[derive(Debug, Clone)]
enum Act {
    Push(usize),
    Take,
    Finish { comes_back: bool },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => prop_oneof![0..300_usize, 0..20_000_usize].prop_map(Act::Push),
        1 => Just(Act::Take),
        1 => any::<bool>().prop_map(|comes_back| Act::Finish { comes_back }),
    ]
}

proptest! {
    #[test]
    fn memory_is_never_above_its_bound(memory in 1_000..200_000_usize, acts in prop::collection::vec(act(), 0..400)) {
        let mut waiting = Waiting::new(INTERVAL, memory);
        let mut under_way: Option<Chunk> = None;
        for act in acts {
            match act {
                Act::Push(length) => {
                    waiting.push(&vec![1; length]);
                }
                Act::Take if under_way.is_none() => {
                    if let Next::Chunk(chunk) = waiting.take(Instant::now() + INTERVAL) {
                        under_way = Some(chunk);
                    }
                }
                Act::Take => {}
                Act::Finish { comes_back } => {
                    if let Some(chunk) = under_way.take() {
                        let capacity = chunk.bytes.capacity();
                        waiting.finish(if comes_back { chunk.bytes } else { Vec::new() }, capacity);
                    }
                }
            }
            let held = waiting.counted(under_way.as_ref().map_or(0, |chunk| chunk.bytes.capacity()));
            prop_assert!(held <= memory, "{held} bytes of {memory}");
            prop_assert_eq!(held, waiting.held);
            let spans = waiting.chunks.iter().chain(&under_way).map(|chunk| chunk.spans).sum::<u64>();
            prop_assert_eq!(spans, waiting.count().0);
        }
    }
}
