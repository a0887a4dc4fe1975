//! Hears what other processes have changed. A process that does not hear of changes, and so might keep what is old, keeps nothing.

use std::sync::{Arc, Weak};
use std::time::Duration;

use ::redis::aio::{PubSubSink, PubSubStream};
use ::redis::{RedisResult, Value};
use futures_util::StreamExt;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::shared::Shared;
use crate::redis::RETRY;

/// Time between two questions whether the connection is still there.
const PING: Duration = Duration::from_secs(1);

/// The task, until it is dropped.
pub(super) struct Follower(JoinHandle<()>);

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Follower {
    /// A connection that does not answer within `patience` is lost.
    pub(super) fn start(shared: &Arc<Shared>, patience: Duration) -> Self {
        Self(tokio::spawn(follow(Arc::downgrade(shared), patience)))
    }
}

async fn follow(shared: Weak<Shared>, patience: Duration) {
    loop {
        let Some(own) = shared.upgrade() else { return };
        let (redis, channel) = (own.redis.clone(), own.channel());
        let subscribed = if redis.is_here() { redis.subscribe(&channel).await.ok() } else { None };
        if subscribed.is_some() {
            own.set_hears(true);
        }
        // Nobody holds the cache while nothing happens: it may be dropped.
        drop(own);
        if let Some((sink, stream)) = subscribed {
            tokio::select! {
                () = hear(&shared, sink, stream, patience) => {}
                // This connection may be lost with the others, and not know it yet.
                () = redis.lost() => {}
            }
            let Some(own) = shared.upgrade() else { return };
            own.set_hears(false);
        }
        sleep(RETRY).await;
    }
}

/// Takes in what is published, until the connection is lost or the cache is gone.
async fn hear(shared: &Weak<Shared>, mut sink: PubSubSink, mut stream: PubSubStream, patience: Duration) {
    let mut ticks = interval(PING);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            message = stream.next() => {
                let (Some(message), Some(own)) = (message, shared.upgrade()) else { return };
                own.hear(message.get_payload_bytes()).await;
            }
            _ = ticks.tick() => {
                let answered: Result<RedisResult<Value>, _> = timeout(patience, sink.ping()).await;
                if !matches!(answered, Ok(Ok(_))) {
                    return;
                }
            }
        }
    }
}
