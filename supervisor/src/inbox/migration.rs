//! The one migration that is under way at most, and whether it is called off.

use gin_shared::control::OperationId;
use tokio::sync::watch;

/// The place of a migration. A clone is the same place.
#[derive(Debug, Clone)]
pub struct Migration(watch::Sender<Option<UnderWay>>);

#[derive(Debug)]
struct UnderWay {
    operation: OperationId,
    /// The reason, once it is called off.
    cancelled: Option<String>,
    /// True once its program is to end as soon as it can without leaving half of something.
    is_to_end: bool,
}

impl Default for Migration {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl Migration {
    /// Takes the place.
    ///
    /// # Errors
    /// The operation that has it.
    pub fn begin(&self, operation: OperationId) -> Result<(), OperationId> {
        let mut taken = None;
        self.0.send_modify(|under_way| match under_way {
            Some(other) => taken = Some(other.operation),
            None => *under_way = Some(UnderWay { operation, cancelled: None, is_to_end: false }),
        });
        taken.map_or(Ok(()), Err)
    }

    /// Gives the place back.
    pub fn end(&self) {
        self.0.send_replace(None);
    }

    /// Calls the migration off; `target`: only if it is this operation. False if there is none.
    #[must_use]
    pub fn cancel(&self, target: Option<OperationId>, because: &str) -> bool {
        self.0.send_if_modified(|under_way| match under_way {
            Some(meant) if target.is_none_or(|target| target == meant.operation) => {
                meant.cancelled.get_or_insert_with(|| because.to_owned());
                true
            }
            Some(_) | None => false,
        })
    }

    /// Asks the migration, if there is one, to end as soon as it can.
    pub fn ask_to_end(&self) {
        self.0.send_if_modified(|under_way| match under_way {
            Some(meant) => {
                meant.is_to_end = true;
                true
            }
            None => false,
        });
    }

    /// Waits until the migration is asked to end.
    pub async fn asked_to_end(&self) {
        let is_asked = |under_way: &Option<UnderWay>| under_way.as_ref().is_some_and(|under_way| under_way.is_to_end);
        let mut changes = self.0.subscribe();
        // The sender is in `self`.
        let _ = changes.wait_for(is_asked).await;
    }

    /// Waits until there is none.
    pub async fn ended(&self) {
        let mut changes = self.0.subscribe();
        let _ = changes.wait_for(Option::is_none).await;
    }

    /// Waits until the migration is called off; gives the reason.
    pub async fn cancelled(&self) -> String {
        let mut changes = self.0.subscribe();
        let found = match changes.wait_for(|under_way| reason(under_way).is_some()).await {
            Ok(under_way) => reason(&under_way),
            Err(_) => None,
        };
        match found {
            Some(because) => because,
            // The sender is in `self`.
            None => std::future::pending().await,
        }
    }
}

fn reason(under_way: &Option<UnderWay>) -> Option<String> {
    under_way.as_ref().and_then(|under_way| under_way.cancelled.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn there_is_one_at_a_time_and_it_alone_is_called_off() {
        let migration = Migration::default();
        assert!(!migration.cancel(None, "nothing is there"));
        migration.begin(OperationId(1)).unwrap();
        assert_eq!(migration.begin(OperationId(2)), Err(OperationId(1)));
        assert!(!migration.cancel(Some(OperationId(2)), "another one"));
        assert!(migration.cancel(Some(OperationId(1)), "by ann"));
        assert!(migration.cancel(None, "by bob"));
        assert_eq!(migration.cancelled().await, "by ann");
        migration.end();
        migration.begin(OperationId(3)).unwrap();
    }

    #[tokio::test]
    async fn one_that_is_asked_to_end_is_waited_for() {
        let migration = Migration::default();
        migration.ask_to_end();
        migration.ended().await;
        migration.begin(OperationId(1)).unwrap();
        migration.ask_to_end();
        migration.asked_to_end().await;
        let other = migration.clone();
        let ((), ()) = tokio::join!(migration.ended(), async move { other.end() });
    }
}
