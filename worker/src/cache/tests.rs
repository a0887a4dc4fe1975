//! The level in the process. What needs a Redis is in `tests/data`.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use tokio::sync::Notify;

use super::*;

fn cache() -> Cache {
    Cache::in_process(1000)
}

fn level(cache: &Cache, name: &'static str) -> (u64, u64) {
    cache.typed::<u64, u64>(name).named.memory.hits_and_misses()
}

#[tokio::test]
async fn a_value_is_kept_replaced_and_removed() {
    let cache = cache();
    let numbers = cache.typed::<u64, u64>("numbers");
    assert_eq!(numbers.get(&1).await, None);
    numbers.insert(&1, 10).await;
    assert_eq!((numbers.get(&1).await, numbers.get(&2).await), (Some(10), None));
    numbers.insert(&1, 11).await;
    assert_eq!(numbers.clone().get(&1).await, Some(11));
    numbers.remove(&1).await;
    assert_eq!(numbers.get(&1).await, None);
    assert_eq!(level(&cache, "numbers"), (2, 3));
    let details = cache.details();
    assert_eq!(details["caches"]["numbers"]["memory"]["hits"], 2, "{details}");
}

#[tokio::test]
async fn a_value_that_is_asked_for_often_is_replaced_and_removed_as_any_other() {
    let cache = cache();
    let numbers = cache.typed::<u64, u64>("numbers");
    for value in [10, 11] {
        numbers.insert(&1, value).await;
        for _ in 0..5 {
            assert_eq!(numbers.get(&1).await, Some(value));
        }
    }
    numbers.remove(&1).await;
    assert_eq!(numbers.get(&1).await, None);
    numbers.insert(&1, 12).await;
    for _ in 0..5 {
        assert_eq!(numbers.get(&1).await, Some(12));
    }
    cache.0.process.forget_all();
    assert_eq!(numbers.get(&1).await, None);
    assert_eq!(level(&cache, "numbers"), (15, 2));
}

#[tokio::test]
async fn caches_of_another_name_or_type_have_keys_of_their_own() {
    let cache = cache();
    cache.typed::<&str, u64>("a").insert(&"b:c", 1).await;
    assert_eq!(cache.typed::<&str, u64>("a:b").get(&"c").await, None);
    assert_eq!(cache.typed::<&str, i64>("a").get(&"b:c").await, None);
    assert_eq!(cache.typed::<String, u64>("a").get(&"b:c".to_owned()).await, Some(1), "a key is its text");
    cache.typed::<&str, i64>("a").insert(&"b:c", -1).await;
    assert_eq!(cache.typed::<&str, u64>("a").get(&"b:c").await, Some(1));
}

/// A thousand ask at once: the source is asked once, though it takes until all of them wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_askers_are_one_question_to_the_source() {
    let (cache, asked) = (cache(), Arc::new(AtomicUsize::new(0)));
    let (may_answer, began) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let ask = |_| {
        let (cache, asked, began) = (cache.clone(), Arc::clone(&asked), Arc::clone(&began));
        let may_answer = Arc::clone(&may_answer);
        tokio::spawn(async move {
            let all_began = began.fetch_add(1, Ordering::SeqCst) + 1 == 1000;
            if all_began {
                may_answer.notify_one();
            }
            let source = || async {
                asked.fetch_add(1, Ordering::SeqCst);
                may_answer.notified().await;
                Ok::<_, Error>("answer".to_owned())
            };
            cache.typed::<u64, String>("slow").get_or_insert_with(&7, source).await
        })
    };
    let askers: Vec<_> = (0..1000).map(ask).collect();
    for asker in askers {
        assert_eq!(asker.await.unwrap().unwrap(), "answer");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_error_is_for_all_who_waited_and_is_not_kept() {
    let (cache, asked) = (cache(), AtomicUsize::new(0));
    let numbers = cache.typed::<u64, u64>("numbers");
    let fails = || async {
        asked.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        Err::<u64, _>(Error::away("database").code("GONE"))
    };
    let (one, other) = tokio::join!(numbers.get_or_insert_with(&1, fails), numbers.get_or_insert_with(&1, fails));
    for failed in [one, other] {
        let report = failed.unwrap_err().report();
        assert_eq!((report.status.as_u16(), report.code.as_deref()), (503, Some("GONE")));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(numbers.get_or_insert_with(&1, || async { Ok::<_, Error>(5) }).await.unwrap(), 5);
}

#[tokio::test]
async fn whoever_goes_away_leaves_the_question_to_another() {
    let cache = cache();
    let numbers = cache.typed::<u64, u64>("numbers");
    let never = numbers.get_or_insert_with(&1, std::future::pending::<Result<u64, Error>>);
    let mut never = Box::pin(never);
    let waiting = numbers.get_or_insert_with(&1, || async { Ok::<_, Error>(5) });
    let mut waiting = Box::pin(waiting);
    assert!(never.as_mut().now_or_never().is_none());
    assert!(waiting.as_mut().now_or_never().is_none(), "it waits for the first one");
    drop(never);
    assert_eq!(waiting.await.unwrap(), 5);
}

#[tokio::test]
async fn however_many_go_away_the_last_is_answered() {
    let cache = cache();
    let numbers = cache.typed::<u64, u64>("numbers");
    let never = || Box::pin(numbers.get_or_insert_with(&1, std::future::pending::<Result<u64, Error>>));
    let mut askers: Vec<_> = (0..500).map(|_| never()).collect();
    let mut last = Box::pin(numbers.get_or_insert_with(&1, || async { Ok::<_, Error>(5) }));
    assert!(askers.iter_mut().all(|asker| asker.as_mut().now_or_never().is_none()));
    assert!(last.as_mut().now_or_never().is_none());
    for asker in askers {
        // The question goes to the next one each time.
        drop(asker);
    }
    assert_eq!(last.await.unwrap(), 5);
    assert_eq!(cache.0.process.flights.len(), 0, "nothing is left of it");
}

#[tokio::test]
async fn a_removal_is_not_undone_by_what_was_asked_before() {
    let cache = cache();
    let numbers = cache.typed::<u64, u64>("numbers");
    let may_answer = Notify::new();
    let old = || async {
        may_answer.notified().await;
        Ok::<_, Error>(1)
    };
    let mut before = Box::pin(numbers.get_or_insert_with(&1, old));
    assert!(before.as_mut().now_or_never().is_none());
    numbers.remove(&1).await;
    // It does not wait for the one who has asked before the removal.
    assert_eq!(numbers.get_or_insert_with(&1, || async { Ok::<_, Error>(2) }).await.unwrap(), 2);
    may_answer.notify_one();
    assert_eq!(before.await.unwrap(), 1);
    assert_eq!(numbers.get(&1).await, Some(2));

    numbers.insert(&1, 3).await;
    assert_eq!(numbers.get(&1).await, Some(3));
}

#[tokio::test]
async fn a_change_of_one_value_drops_no_other() {
    let numbers = Cache::in_process(20_000).typed::<u64, u64>("numbers");
    for n in 0..10_000 {
        numbers.insert(&n, n).await;
    }
    for n in 0..5000 {
        numbers.remove(&n).await;
    }
    let mut gone = Vec::new();
    for n in 0..10_000 {
        match numbers.get(&n).await {
            Some(value) => assert_eq!(value, n),
            None => gone.push(n),
        }
    }
    assert_eq!(gone, (0..5000).collect::<Vec<_>>(), "those that were removed, and only those");
}

#[tokio::test]
async fn a_value_that_is_over_at_once_takes_no_memory() {
    let (cache, value) = (cache(), Arc::new(()));
    let place = cache.0.process.place("1:a:0:1".to_owned(), TypeId::of::<Arc<()>>());
    let kept = async { Ok::<_, ()>(Kept::new(Arc::clone(&value), Duration::ZERO)) };
    drop(cache.0.process.get_or_load(&place, kept).await);
    assert_eq!(Arc::strong_count(&value), 1);
}

#[tokio::test]
async fn a_value_lives_as_long_as_it_may() {
    let cache = cache();
    let gone = cache.typed::<u64, u64>("numbers").ttl(Duration::ZERO);
    gone.insert(&1, 1).await;
    assert_eq!(gone.get(&1).await, None);
    assert_eq!(gone.get_or_insert_with(&1, || async { Ok::<_, Error>(2) }).await.unwrap(), 2);
    assert_eq!(gone.get(&1).await, None, "it was answered, and is over already");
    // The later time to live counts.
    let stays = gone.ttl(Duration::from_secs(3600));
    stays.insert(&1, 3).await;
    assert_eq!(stays.get(&1).await, Some(3));
}

#[tokio::test]
async fn a_panic_of_the_source_is_its_askers_alone() {
    async fn panics() -> Result<u64, Error> {
        panic!("the source")
    }
    let cache = cache();
    let asker = {
        let numbers = cache.typed::<u64, u64>("numbers");
        tokio::spawn(async move { numbers.get_or_insert_with(&1, panics).await })
    };
    assert!(asker.await.unwrap_err().is_panic());
    let numbers = cache.typed::<u64, u64>("numbers");
    assert_eq!(numbers.get_or_insert_with(&1, || async { Ok::<_, Error>(5) }).await.unwrap(), 5);
}

#[tokio::test]
async fn a_server_without_a_cache_says_what_to_do() {
    use crate::testing::TestServer;
    use crate::{Config, Server};

    async fn size(cache: Cache) -> String {
        cache.typed::<u64, u64>("numbers").insert(&1, 1).await;
        format!("{:?}", cache.typed::<u64, u64>("numbers").get(&1).await)
    }
    let config = Config::<()>::default();
    let with: Server = Server::new(&config).cache().get("/", size);
    assert_eq!(TestServer::start(with).await.get("/").send().await.text(), "Some(1)");
    let without: Server = Server::new(&config).get("/", size);
    TestServer::start(without).await.get("/").send().await.assert_status(500);
}
