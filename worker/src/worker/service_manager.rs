//! Messages to the supervisor, or to the service manager, over `NOTIFY_SOCKET`. There may be neither.

use std::time::Duration;

use sd_notify::NotifyState;

/// Says that the worker is ready, and from then on, if a watchdog is set, that it is alive.
pub(super) fn say_ready() {
    notify(&[NotifyState::Ready]);
    if let Some(interval) = sd_notify::watchdog_enabled() {
        tokio::spawn(say_alive(interval / 2));
    }
}

/// Says that the start goes on, and may take so long from now.
pub(super) fn extend(time: Duration) {
    notify(&[NotifyState::ExtendTimeoutUsec(micros(time))]);
}

/// Says that the worker drains, and asks for the time that it needs.
pub(super) fn say_stopping(needed: Duration) {
    notify(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(micros(needed))]);
}

fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

/// Says that the worker is alive, for as long as its runtime runs tasks.
async fn say_alive(interval: Duration) {
    let mut ticks = tokio::time::interval(interval);
    loop {
        ticks.tick().await;
        notify(&[NotifyState::Watchdog]);
    }
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!("NOTIFY_SOCKET: {error}");
    }
}
