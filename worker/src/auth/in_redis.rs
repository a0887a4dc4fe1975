//! Logins in Redis: each is a hash that Redis removes by itself when it expires. The ids of a user's logins are a sorted set.
//!
//! Each change is one script, which Redis does whole or not at all, and one round trip. A script may run twice ([`Redis`] asks again when a
//! connection is lost). A refresh that runs twice finds the number risen, and its token is within the grace.

use std::ops::Deref;
use std::sync::LazyLock;

use ::redis::{Script, cmd};

use super::logins::{Millis, Row};
use super::now;
use crate::BoxError;
use crate::kept::id::Id;
use crate::kept::in_redis::{Rows, script};
use crate::redis::Redis;

/// Beginning of all keys.
const PREFIX: &str = "gin:login";

/// ARGV: id, the user's key, data, created, expires, version, turned, now.
static CREATE: LazyLock<Script> = LazyLock::new(|| {
    script(
        "
local key = KEYS[1] .. ':' .. ARGV[1]
redis.call('HSET', key, 'user_key', ARGV[2], 'data', ARGV[3], 'created', ARGV[4], 'expires', ARGV[5], 'version', ARGV[6], 'turned', ARGV[7])
redis.call('PEXPIREAT', key, ARGV[5])
redis.call('ZADD', of(ARGV[2]), ARGV[4], ARGV[1])
keep(ARGV[2], tonumber(ARGV[5]), tonumber(ARGV[8]))
return 1
",
    )
});

/// ARGV: id, version, turned, expires, now.
static TURN: LazyLock<Script> = LazyLock::new(|| {
    script(
        "
local key = KEYS[1] .. ':' .. ARGV[1]
if redis.call('HGET', key, 'version') ~= ARGV[2] then return 0 end
redis.call('HINCRBY', key, 'version', 1)
redis.call('HSET', key, 'turned', ARGV[3], 'expires', ARGV[4])
redis.call('PEXPIREAT', key, ARGV[4])
local user = redis.call('HGET', key, 'user_key')
-- The list may be gone before its logins: evicted, or expired by a clock that is not the workers'.
redis.call('ZADD', of(user), redis.call('HGET', key, 'created'), ARGV[1])
keep(user, tonumber(ARGV[4]), tonumber(ARGV[5]))
return 1
",
    )
});

/// Logins in a server.
pub(super) struct InRedis(Rows);

impl Deref for InRedis {
    type Target = Rows;

    fn deref(&self) -> &Rows {
        &self.0
    }
}

/// A login's fields as they are asked for.
type Fields = (Option<String>, Option<String>, Option<i64>, Option<i64>, Option<i64>, Option<i64>);

impl InRedis {
    pub(super) fn new(redis: Redis) -> Self {
        Self(Rows::new(redis, PREFIX))
    }

    pub(super) async fn load(&self, id: Id) -> Result<Option<Row>, BoxError> {
        let mut command = cmd("HMGET");
        command.arg(format!("{PREFIX}:{}", id.text()));
        for field in ["user_key", "data", "created", "expires", "version", "turned"] {
            command.arg(field);
        }
        let fields: Fields = self.0.redis.run(&command).await?;
        let (Some(user_key), Some(data), Some(created), Some(expires), Some(version), Some(turned)) = fields else {
            return Ok(None);
        };
        Ok(Some(Row { user_key, data, created, expires, version, turned }))
    }

    pub(super) async fn create(&self, id: Id, row: &Row) -> Result<(), BoxError> {
        let mut script = CREATE.prepare_invoke();
        script.key(PREFIX).arg(id.text()).arg(&row.user_key).arg(&row.data);
        script.arg(row.created).arg(row.expires).arg(row.version).arg(row.turned).arg(now());
        let _: i64 = self.0.redis.run_script(&script).await?;
        Ok(())
    }

    pub(super) async fn turn(&self, id: Id, version: i64, turned: Millis, expires: Millis) -> Result<bool, BoxError> {
        let mut script = TURN.prepare_invoke();
        script.key(PREFIX).arg(id.text()).arg(version).arg(turned).arg(expires).arg(now());
        let turned: i64 = self.0.redis.run_script(&script).await?;
        Ok(turned == 1)
    }
}
