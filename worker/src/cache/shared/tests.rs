//! Tests without Redis, or with one that answers as it seldom does.

use std::any::TypeId;

use super::*;
use crate::cache::follower::Follower;
use crate::cache::process::Kept;
use crate::config;
use crate::redis::stub;

const TTL: Duration = Duration::from_secs(60);

/// With a Redis that nobody asks.
fn shared() -> Arc<Shared> {
    let redis = Redis::new(&config::Redis::default()).unwrap();
    Shared::new(redis, "shop", Arc::new(Process::new(100)), true)
}

#[tokio::test]
async fn what_others_publish_drops_the_entry_and_what_is_published_here_does_not() {
    let shared = shared();
    let of = |text: &str| shared.process.place(text.to_owned(), TypeId::of::<u64>());
    let keep = async |text: &str| shared.process.insert(of(text), Kept::new(7_u64, TTL)).await;
    let has = async |text: &str| shared.process.get(&of(text)).await.is_some();

    keep("5:users:0:1").await;
    shared.hear(shared.message("5:users:0:1").as_bytes()).await;
    assert!(has("5:users:0:1").await, "its own");
    shared.hear(b"ffffffffffffffff 5:users:0:1").await;
    assert!(!has("5:users:0:1").await);

    keep("5:users:0:a key").await;
    shared.hear(b"ffffffffffffffff 5:users:0:a key").await;
    assert!(!has("5:users:0:a key").await, "a key may have a space");

    keep("5:users:0:1").await;
    keep("5:users:0:2").await;
    for nonsense in [&b"\xff\xfe"[..], b"", b" ", b"no"] {
        shared.hear(nonsense).await;
    }
    shared.hear(b"ffffffffffffffff *").await;
    assert!(!has("5:users:0:1").await && !has("5:users:0:2").await);
}

#[tokio::test]
async fn a_process_that_does_not_hear_of_changes_keeps_nothing() {
    let shared = shared();
    assert_eq!(shared.in_process(TTL), Duration::ZERO);
    shared.set_hears(true);
    assert_eq!(shared.in_process(TTL), TTL);

    let place = shared.process.place("1:a:0:1".to_owned(), TypeId::of::<u64>());
    shared.process.insert(place, Kept::new(7_u64, TTL)).await;
    shared.set_hears(false);
    shared.set_hears(true);
    let place = shared.process.place("1:a:0:1".to_owned(), TypeId::of::<u64>());
    assert!(shared.process.get(&place).await.is_none(), "it may have missed a change");

    shared.redis.went_away("it was stopped");
    assert_eq!(shared.in_process(TTL), Duration::ZERO);
}

#[tokio::test]
async fn a_removal_that_redis_does_not_hear_of_waits() {
    let shared = shared();
    shared.redis.went_away("it was stopped");
    shared.remove("1:a:0:1").await;
    shared.remove("1:a:0:2").await;
    assert_eq!(shared.unsettled.len(), 2);
}

#[test]
fn times_to_live_are_what_redis_takes() {
    assert_eq!((whole_millis(Duration::ZERO), whole_millis(Duration::from_micros(2500))), (1, 2));
    assert_eq!(whole_millis(Duration::MAX), 1 << 50);
    assert_eq!((millis(-2), millis(1500)), (Duration::ZERO, Duration::from_millis(1500)));
}

/// Redis whose memory is full: it refuses values, and every command of a transaction.
#[tokio::test]
async fn a_value_for_which_redis_has_no_room_is_no_outage() {
    let mut is_transaction = false;
    let redis = stub::answered_by(move |words| match words[0].as_str() {
        "MULTI" => {
            is_transaction = true;
            stub::OK
        }
        "EXEC" => {
            is_transaction = false;
            "-EXECABORT Transaction discarded because of previous errors.\r\n"
        }
        _ if is_transaction => "-OOM command not allowed when used memory > 'maxmemory'.\r\n",
        "DEL" | "PUBLISH" => ":1\r\n",
        _ => stub::OK,
    });
    let shared = Shared::new(redis, "shop", Arc::new(Process::new(100)), true);
    let named = Named::new::<u64>("shop", "numbers", true);
    assert!(!shared.insert(&named, "7:numbers:0:1", TTL, &7_u64).await);
    assert!(shared.redis.is_here(), "{:?}", shared.redis.away());
    assert_eq!(shared.unsettled.len(), 0, "the old value was removed");
    assert!(shared.is_told.load(Ordering::Relaxed));
}

#[tokio::test]
async fn a_lease_ends_with_the_one_who_has_asked_the_source() {
    let (end, mut ended) = tokio::sync::mpsc::unbounded_channel();
    let redis = stub::answered_by(move |words| match words {
        // A look for a value: there is none, and a lease.
        [name, _, keys, ..] if name == "EVALSHA" && keys == "2" => "*2\r\n$-1\r\n:1\r\n",
        // A time for the lease, in milliseconds.
        [name, .., time] if name == "EVALSHA" => {
            end.send(time.clone()).unwrap();
            ":1\r\n"
        }
        _ => stub::OK,
    });
    let shared = Shared::new(redis, "shop", Arc::new(Process::new(100)), false);
    let (begin, began) = tokio::sync::oneshot::channel();
    let asker = tokio::spawn(async move {
        let source = async {
            begin.send(()).unwrap();
            std::future::pending::<Result<u64, ()>>().await
        };
        shared.load(&Named::new::<u64>("shop", "numbers", true), "7:numbers:0:1", TTL, source).await
    });
    began.await.unwrap();
    asker.abort();
    assert_eq!(ended.recv().await.unwrap(), "0");
}

#[tokio::test]
async fn an_outage_ends_the_connection_that_hears_of_changes_too() {
    let (subscribe, mut subscribed) = tokio::sync::mpsc::unbounded_channel();
    let redis = stub::answered_by(move |words| {
        if words[0] != "SUBSCRIBE" {
            return stub::OK;
        }
        subscribe.send(words[1].clone()).unwrap();
        "*3\r\n$9\r\nsubscribe\r\n$18\r\nshop:cache:changes\r\n:1\r\n"
    });
    let shared = Shared::new(redis, "shop", Arc::new(Process::new(100)), true);
    let _follower = Follower::start(&shared, Duration::from_secs(60));
    assert_eq!(subscribed.recv().await.unwrap(), shared.channel());
    shared.redis.went_away("it was stopped");
    assert!(!shared.is_heard());
    // Its connection answers as before.
    assert_eq!(subscribed.recv().await.unwrap(), shared.channel());
}
